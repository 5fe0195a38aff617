-- Neighbours by text outlive the process that searched for them. To be as right after a start as they were before it,
-- they have to be compared with what can be found since: products with another text, in stock again, or at another time.
-- The change that made a product so is numbered, as every change is. What a price or a count changes is no such change.

ALTER TABLE products ADD COLUMN found_seq bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION number_product_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.change_seq := nextval('catalogue_change_seq');
    IF TG_OP = 'INSERT' THEN
        NEW.found_seq := NEW.change_seq;
    ELSIF (NEW.available_quantity > 0 AND OLD.available_quantity = 0)
        OR (NEW.text_digest, NEW.available_time, NEW.expire_time)
            IS DISTINCT FROM (OLD.text_digest, OLD.available_time, OLD.expire_time) THEN
        NEW.found_seq := NEW.change_seq;
    END IF;
    RETURN NEW;
END
$$;

-- No foreign key, for deleting products must not wait for whoever writes here: rows of those that are gone are swept up.
CREATE TABLE text_neighbours (
    product_id text COLLATE "C" PRIMARY KEY,
    -- Until this one, all changes are known to the row.
    change_seq bigint NOT NULL,
    -- Ids by falling cosine, which are four bytes each, the smaller byte first.
    near text[] NOT NULL,
    cosines bytea NOT NULL,
    -- Whether there are no others.
    whole boolean NOT NULL,
    find_time timestamptz NOT NULL
);
