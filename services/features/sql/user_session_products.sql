-- Products that the session under way is about: viewed, clicked, put into the cart, bought or rated in it, each once, newest
-- first, at most 50.
WITH session AS MATERIALIZED (
  SELECT id, start, valid_until FROM sessions($1, $2)
),
newest AS (
  SELECT DISTINCT ON (s.id, l.product_id) s.id, l.product_id, l.event_time, l.seq, l.line
  FROM session s
  JOIN event_lines l ON l.subject_id = s.id AND l.event_time >= s.start
  WHERE l.subject_id = ANY ((SELECT $1::text[])::text[])
    AND l.event_type IN ('detail-page-view', 'click', 'add-to-cart', 'purchase-complete', 'rate')
    AND l.event_time > window_start($2, '48 hours')
    AND l.event_time <= $2::timestamptz
  ORDER BY s.id, l.product_id, l.event_time DESC, l.seq DESC, l.line DESC
),
placed AS (
  SELECT
    id,
    product_id,
    row_number() OVER (PARTITION BY id ORDER BY event_time DESC, seq DESC, line DESC) AS place
  FROM newest
)
SELECT
  s.id,
  coalesce(array_agg(p.product_id ORDER BY p.place) FILTER (WHERE p.place <= 50), '{}') AS value,
  s.valid_until
FROM session s
LEFT JOIN placed p ON p.id = s.id
GROUP BY s.id, s.valid_until
