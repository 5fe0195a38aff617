-- What a model version keeps. The user's vector is folded in at the request now, from what was done until then, so no
-- version keeps vectors of users any more: measured, the folded ones rank better, and a person's erasure has less to
-- look for. Versions gain blobs that serving loads into memory before it switches to them, and their lineage.

DROP FUNCTION create_model_storage(text);
DROP FUNCTION attach_model_storage(text);
DROP FUNCTION drop_model_storage(text);
DROP TABLE user_factors;

ALTER TABLE models ADD COLUMN lineage jsonb NOT NULL DEFAULT '{}';

CREATE TABLE model_artifacts (
    model_id text COLLATE "C" NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (model_id, name)
);

-- They come compressed.
ALTER TABLE model_artifacts ALTER COLUMN content SET STORAGE EXTERNAL;

-- The life of a model's vectors: create_model_storage, COPY into the table that it returns, attach_model_storage (builds
-- the indexes in bulk, then makes the rows visible in product_factors), and one day drop_model_storage.
CREATE FUNCTION create_model_storage(model text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    factors_table text := 'product_factors_' || model;
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE product_factors, CHECK (model_id = %L))', factors_table, model);
    RETURN factors_table;
END
$$;

CREATE FUNCTION attach_model_storage(model text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    factors_table text := 'product_factors_' || model;
BEGIN
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (model_id, product_id)', factors_table);
    EXECUTE format('CREATE INDEX ON %I USING hnsw (embedding vector_ip_ops)', factors_table);
    EXECUTE format('ANALYZE %I', factors_table);
    EXECUTE format('ALTER TABLE product_factors ATTACH PARTITION %I FOR VALUES IN (%L)', factors_table, model);
END
$$;

CREATE FUNCTION drop_model_storage(model text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS %I', 'product_factors_' || model);
    DELETE FROM model_artifacts WHERE model_id = model;
END
$$;
