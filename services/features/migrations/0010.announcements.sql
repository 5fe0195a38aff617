-- What was announced is kept until the online store has surely written it down; meanwhile newer changes are looked for.
CREATE INDEX unannounced_products_by_change ON unannounced_products (change);

-- Products whose place among prices, category or brand has moved, and whose users are not marked: noted with the move.
CREATE TABLE moved_products (
  product_id text COLLATE "C" PRIMARY KEY,
  change bigint GENERATED ALWAYS AS IDENTITY
);
