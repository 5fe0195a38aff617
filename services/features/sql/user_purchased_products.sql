-- Products bought in the last 365 days, by how often and how lately (each order line halved every 45 days), at most 200.
-- All weights halve alike, so their order holds until an order line of a product in the list leaves.
-- Added up in the order of time: doubles in another order give another last digit, and equal sums would be no tie.
WITH bought AS (
  SELECT
    subject_id,
    product_id,
    sum(
      power(2.0::float8, -date_part('epoch', $2::timestamptz - event_time) / (45 * 86400.0::float8))
      ORDER BY event_time
    ) AS weight,
    min(event_time) AS oldest
  FROM event_lines
  WHERE subject_id = ANY ((SELECT $1::text[])::text[])
    AND event_type = 'purchase-complete'
    AND event_time > window_start($2, '8760 hours')
    AND event_time <= $2::timestamptz
  GROUP BY subject_id, product_id
),
placed AS (
  SELECT
    subject_id,
    product_id,
    oldest,
    row_number() OVER (PARTITION BY subject_id ORDER BY weight DESC, product_id) AS place
  FROM bought
)
SELECT
  subject_id AS id,
  array_agg(product_id ORDER BY place) AS value,
  min(oldest) + interval '8760 hours' AS valid_until
FROM placed
WHERE place <= 200
GROUP BY subject_id
