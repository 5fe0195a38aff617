#!/bin/sh
# Prints fresh random passwords for compose.yaml: (umask 077; deploy/compose-secrets.sh > deploy/.env), once.
set -eu

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for name in POSTGRES_PASSWORD FEATURES_PASSWORD RECOMMENDER_PASSWORD REDISCLI_AUTH; do
  echo "$name=$(random)"
done
