-- Which of the ids the catalogue or an event names.
SELECT id
FROM unnest($1::text[]) AS id
WHERE EXISTS (SELECT FROM product_signals p WHERE p.product_id = id)
  OR EXISTS (SELECT FROM event_lines l WHERE l.product_id = id)
