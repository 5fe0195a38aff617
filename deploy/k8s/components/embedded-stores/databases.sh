#!/bin/sh
# Run once by the image, on an empty volume: a role and a database for each service, closed to the other one.
set -eu

create() {
  psql --set ON_ERROR_STOP=1 --username postgres --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
  psql --set ON_ERROR_STOP=1 --username postgres --dbname "$1" --command 'CREATE EXTENSION vector'
}

create features "$FEATURES_PASSWORD"
create recommender "$RECOMMENDER_PASSWORD"
