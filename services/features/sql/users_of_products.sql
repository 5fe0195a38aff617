-- Users whose values depend on the category, brand or price of the products $1: they viewed one, put it into the cart or bought
-- it within the longest such window.
SELECT DISTINCT subject_id AS id
FROM event_lines
WHERE product_id = ANY ((SELECT $1::text[])::text[])
  AND event_type IN ('purchase-complete', 'add-to-cart', 'detail-page-view')
  AND event_time > window_start($2, '4320 hours')
