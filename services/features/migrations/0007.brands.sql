-- The catalogue's brands. The copy learns those of the products that it has by following the stream from its beginning.
ALTER TABLE product_signals ADD COLUMN brand text COLLATE "C";
UPDATE product_signals_cursor SET cursor = '';
