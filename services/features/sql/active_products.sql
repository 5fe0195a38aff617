-- A page, after the id $1 and of $3, of the products that have stock, ratings or lately an event.
SELECT id
FROM (
  SELECT product_id AS id FROM product_signals WHERE product_id > $1
  UNION
  SELECT product_id FROM event_lines
  WHERE product_id > $1 AND (event_time > $2::timestamptz - interval '720 hours' OR event_type = 'rate')
) AS products
ORDER BY id
LIMIT $3
