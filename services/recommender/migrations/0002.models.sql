-- Model versions, their vectors, and the scores that rank products without a user.

CREATE TABLE models (
    id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,40}$'), -- becomes part of a table name
    state text NOT NULL CHECK (state IN ('TRAINING', 'READY', 'ACTIVE', 'REJECTED', 'FAILED')),
    create_time timestamptz NOT NULL DEFAULT now(),
    finish_time timestamptz,
    progress double precision NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    metrics jsonb NOT NULL DEFAULT '{}',
    reason text NOT NULL DEFAULT ''
);

CREATE UNIQUE INDEX models_one_active ON models (state) WHERE state = 'ACTIVE';
CREATE UNIQUE INDEX models_one_training ON models (state) WHERE state = 'TRAINING';
CREATE INDEX models_newest ON models (create_time DESC, id DESC);

-- One partition, with an HNSW graph of its own, for each stored model: the vectors of two models live in
-- different spaces, and one graph over both would spend its search in the wrong one. See docs/adr.
CREATE TABLE user_factors (
    model_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    embedding vector(64) NOT NULL,
    PRIMARY KEY (model_id, user_id)
) PARTITION BY LIST (model_id);

CREATE TABLE product_factors (
    model_id text COLLATE "C" NOT NULL,
    product_id text COLLATE "C" NOT NULL,
    embedding vector(64) NOT NULL,
    PRIMARY KEY (model_id, product_id)
) PARTITION BY LIST (model_id);

-- ALS scores are inner products.
CREATE INDEX product_factors_hnsw ON product_factors USING hnsw (embedding vector_ip_ops);

-- The life of a model's vectors: create_model_storage, COPY into the two tables it returns,
-- attach_model_storage (builds the indexes in bulk, then makes the rows visible in user_factors and
-- product_factors), and one day drop_model_storage.
CREATE FUNCTION create_model_storage(model text, OUT users_table text, OUT products_table text)
LANGUAGE plpgsql AS $$
BEGIN
    users_table := 'user_factors_' || model;
    products_table := 'product_factors_' || model;
    EXECUTE format('CREATE TABLE %I (LIKE user_factors, CHECK (model_id = %L))', users_table, model);
    EXECUTE format('CREATE TABLE %I (LIKE product_factors, CHECK (model_id = %L))', products_table, model);
END
$$;

CREATE FUNCTION attach_model_storage(model text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    users_table text := 'user_factors_' || model;
    products_table text := 'product_factors_' || model;
BEGIN
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (model_id, user_id)', users_table);
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (model_id, product_id)', products_table);
    EXECUTE format('CREATE INDEX ON %I USING hnsw (embedding vector_ip_ops)', products_table);
    EXECUTE format('ANALYZE %I', users_table);
    EXECUTE format('ANALYZE %I', products_table);
    EXECUTE format('ALTER TABLE user_factors ATTACH PARTITION %I FOR VALUES IN (%L)', users_table, model);
    EXECUTE format('ALTER TABLE product_factors ATTACH PARTITION %I FOR VALUES IN (%L)', products_table, model);
END
$$;

CREATE FUNCTION drop_model_storage(model text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS %I', 'user_factors_' || model);
    EXECUTE format('DROP TABLE IF EXISTS %I', 'product_factors_' || model);
END
$$;

-- Copies of feature values, refreshed off the request path. No foreign key: a score may outlive its product
-- for a moment, and reads join products anyway.
CREATE TABLE product_scores (
    product_id text COLLATE "C" PRIMARY KEY,
    popularity double precision NOT NULL DEFAULT 0,
    trend double precision NOT NULL DEFAULT 0,
    rating double precision,
    update_time timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX product_scores_popularity ON product_scores (popularity DESC, product_id);
CREATE INDEX product_scores_trend ON product_scores (trend DESC, product_id);
