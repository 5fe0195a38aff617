-- Finds what came lately (events of the future, after a loss of the online store) without reading the log; next to no cost.
CREATE INDEX events_by_arrival ON events USING brin (ingest_time);

-- A product that changes again while it is announced gets a new number, so that its second change is not taken for announced.
ALTER TABLE unannounced_products ADD COLUMN change bigint GENERATED ALWAYS AS IDENTITY;
