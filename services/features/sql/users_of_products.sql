-- Users whose values depend on the category or price of the products $1: they viewed or bought one within the longest such window.
SELECT DISTINCT subject_id AS id
FROM event_lines
WHERE product_id = ANY ($1)
  AND event_type IN ('purchase-complete', 'detail-page-view')
  AND event_time > $2::timestamptz - interval '2160 hours'
