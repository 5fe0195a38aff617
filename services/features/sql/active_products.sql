-- A page, after the id $1 and of $3, of the products that have stock, ratings or lately an event.
SELECT id
FROM (
  (SELECT product_id AS id FROM product_signals WHERE product_id > $1 ORDER BY product_id LIMIT $3)
  UNION
  (
    SELECT DISTINCT product_id FROM event_lines
    WHERE product_id > $1 AND event_time > window_start($2, '720 hours')
    ORDER BY product_id LIMIT $3
  )
  UNION
  (SELECT DISTINCT product_id FROM event_lines WHERE product_id > $1 AND event_type = 'rate' ORDER BY product_id LIMIT $3)
) AS products
ORDER BY id
LIMIT $3
