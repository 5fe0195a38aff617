-- Apart from the column: a transaction that added one lets nobody read products until it ends, and to make an index it
-- looks at all of them. Made alone it only lets writes wait. It begins almost empty: only what changed since is in it.
CREATE INDEX IF NOT EXISTS products_found_seq ON products (found_seq) WHERE found_seq > 0;
