-- Edits of serving configs, laid over those that come with the service: a row replaces the bundled config of its id, or
-- adds one. Whether a declaration is sound is the service's to say; one that this version cannot read is left out there.

CREATE TABLE serving_configs (
    id text COLLATE "C" PRIMARY KEY,
    declaration jsonb NOT NULL,
    update_time timestamptz NOT NULL
);
