-- The catalogue: products, what was deleted, the order of changes, and the text embeddings.

CREATE EXTENSION IF NOT EXISTS vector;

-- Names this catalogue. A stream cursor of another one (another database) is worthless here.
CREATE TABLE catalogue_epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO catalogue_epoch DEFAULT VALUES;

CREATE SEQUENCE catalogue_change_seq;

-- Ids sort by bytes, whatever the collation of the database, so that pages never depend on it.
CREATE TABLE products (
    id text COLLATE "C" PRIMARY KEY,
    title text NOT NULL,
    description text NOT NULL,
    categories text[] NOT NULL,
    top_category text NOT NULL,
    brand text NOT NULL,
    price double precision CHECK (price >= 0),
    currency_code text NOT NULL,
    available_quantity integer NOT NULL CHECK (available_quantity >= 0),
    low_stock_threshold integer NOT NULL CHECK (low_stock_threshold >= 0),
    rating_average double precision CHECK (rating_average BETWEEN 1 AND 5),
    rating_count integer NOT NULL CHECK (rating_count >= 0),
    tags text[] NOT NULL,
    attributes jsonb NOT NULL,
    available_time timestamptz,
    expire_time timestamptz,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    -- When the stock was counted; an older count never replaces a newer one.
    inventory_set_time timestamptz NOT NULL,
    -- Of the text that the embedding stands for; the embeddings follow it.
    text_digest bytea NOT NULL,
    -- Set by the triggers below, never by a statement.
    change_seq bigint NOT NULL
)
-- Stock changes are the most frequent writes; room in the page saves them new pages.
WITH (fillfactor = 85);

CREATE UNIQUE INDEX products_change_seq ON products (change_seq);
CREATE INDEX products_top_category ON products (top_category) WHERE available_quantity > 0;
CREATE INDEX products_create_time ON products (create_time DESC) WHERE available_quantity > 0;

CREATE TABLE deleted_products (
    id text COLLATE "C" PRIMARY KEY,
    change_seq bigint NOT NULL,
    delete_time timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX deleted_products_change_seq ON deleted_products (change_seq);

-- A table of its own: a change of stock or price then never touches the HNSW graph.
CREATE TABLE product_embeddings (
    product_id text COLLATE "C" PRIMARY KEY REFERENCES products (id) ON DELETE CASCADE,
    text_digest bytea NOT NULL,
    -- Of length 1, or all zeros for a text without a known word (not in the index then).
    text_embedding halfvec(256) NOT NULL
);

-- Below the defaults (16, 64): a third of the cost of an insert.
CREATE INDEX product_embeddings_hnsw ON product_embeddings
    USING hnsw (text_embedding halfvec_cosine_ops) WITH (m = 12, ef_construction = 40);

-- The one definition of "may be recommended". SQL, so that the planner sees through it.
CREATE FUNCTION is_available(
    available_quantity integer, available_time timestamptz, expire_time timestamptz, at_time timestamptz
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
'SELECT available_quantity > 0
    AND (available_time IS NULL OR available_time <= at_time)
    AND (expire_time IS NULL OR expire_time > at_time)';

-- Writers take this lock before they draw a change_seq and hold it until they are committed and visible:
-- so the order of change_seq is the order of commits, and a reader that has seen change_seq n has seen
-- every smaller one. Statements that lock rows before they write call it first, to lock in one order.
CREATE FUNCTION lock_catalogue() RETURNS void LANGUAGE sql VOLATILE AS
'SELECT pg_advisory_xact_lock(7161802532)';

CREATE FUNCTION before_catalogue_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_catalogue();
    RETURN NULL;
END
$$;

CREATE FUNCTION number_product_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.change_seq := nextval('catalogue_change_seq');
    RETURN NEW;
END
$$;

CREATE FUNCTION forget_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM deleted_products USING added WHERE deleted_products.id = added.id;
    RETURN NULL;
END
$$;

CREATE FUNCTION remember_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deleted_products (id, change_seq)
    SELECT removed.id, nextval('catalogue_change_seq') FROM removed
    ON CONFLICT (id) DO UPDATE SET change_seq = excluded.change_seq, delete_time = excluded.delete_time;
    RETURN NULL;
END
$$;

CREATE FUNCTION notify_catalogue_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('catalogue_changed', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER products_1_lock BEFORE INSERT OR UPDATE OR DELETE ON products
    FOR EACH STATEMENT EXECUTE FUNCTION before_catalogue_change();
CREATE TRIGGER products_2_number BEFORE INSERT OR UPDATE ON products
    FOR EACH ROW EXECUTE FUNCTION number_product_change();
CREATE TRIGGER products_3_added AFTER INSERT ON products
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION forget_deletion();
CREATE TRIGGER products_3_removed AFTER DELETE ON products
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION remember_deletion();
CREATE TRIGGER products_4_notify AFTER INSERT OR UPDATE OR DELETE ON products
    FOR EACH STATEMENT EXECUTE FUNCTION notify_catalogue_change();
