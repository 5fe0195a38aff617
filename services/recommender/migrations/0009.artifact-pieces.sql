-- A version's blobs in pieces: one of 70 MB, as of 100,000 products, is copied several times on its way through a driver,
-- each time at once, and whoever serves beside that waits. What was stored before is one piece.

ALTER TABLE model_artifacts ADD COLUMN piece integer NOT NULL DEFAULT 0;
ALTER TABLE model_artifacts DROP CONSTRAINT model_artifacts_pkey;
ALTER TABLE model_artifacts ADD PRIMARY KEY (model_id, name, piece);
