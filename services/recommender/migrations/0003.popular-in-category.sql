-- The best sellers of one category straight from an index: a category can have 40,000 products, and ranking
-- them on a request takes longer than the whole request may.

ALTER TABLE product_scores ADD COLUMN top_category text NOT NULL DEFAULT '';

CREATE INDEX product_scores_in_category ON product_scores (top_category, popularity DESC, product_id);
