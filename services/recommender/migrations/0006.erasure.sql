-- Who was erased, as salted hashes (sha256(salt || 'user:' || id), 'guest:' for visitors): a training run that read them
-- before, and other processes that remember them, recognise them by it.
CREATE TABLE erasure_salt (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    salt bytea NOT NULL
);
INSERT INTO erasure_salt (salt) VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

CREATE TABLE erased_shoppers (
    digest bytea PRIMARY KEY,
    erase_time timestamptz NOT NULL
);
CREATE INDEX erased_shoppers_newest ON erased_shoppers (erase_time);
