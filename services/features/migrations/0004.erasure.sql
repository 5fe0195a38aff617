-- Who was erased, as salted hashes: enough to recognise what comes late, too little to name anybody.
CREATE TABLE erasure_salt (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  salt bytea NOT NULL
);
INSERT INTO erasure_salt (salt) VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- sha256(salt || subject id): events up to this time are not taken any more; later ones are a new life.
CREATE TABLE erased_subjects (
  digest bytea PRIMARY KEY,
  until timestamptz NOT NULL
);

-- sha256(salt || event id) of the events that were removed: a sender that repeats one without its time means the old one.
CREATE TABLE erased_events (digest bytea PRIMARY KEY);
