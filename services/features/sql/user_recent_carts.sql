-- Products put into the cart in the last 30 days, each once, newest first, at most 20.
WITH newest AS (
  SELECT DISTINCT ON (subject_id, product_id) subject_id, product_id, event_time, seq, line
  FROM event_lines
  WHERE subject_id = ANY ($1)
    AND event_type = 'add-to-cart'
    AND event_time > $2::timestamptz - interval '720 hours'
    AND event_time <= $2::timestamptz
  ORDER BY subject_id, product_id, event_time DESC, seq DESC, line DESC
),
placed AS (
  SELECT
    subject_id,
    product_id,
    event_time,
    row_number() OVER (PARTITION BY subject_id ORDER BY event_time DESC, seq DESC, line DESC) AS place
  FROM newest
)
SELECT
  subject_id AS id,
  array_agg(product_id ORDER BY place) AS value,
  min(event_time) + interval '720 hours' AS valid_until
FROM placed
WHERE place <= 20
GROUP BY subject_id
