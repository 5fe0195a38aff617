-- Products bought in the last 365 days, newest first, at most 2,000: the orders that name each, the time (s) of the first
-- and of the last of them, and the order lines, halved every 45 days. The last changes all the time and is as of the
-- computation; the others hold until an order line of a product in the table leaves. Added up in the order of time.
WITH bought AS (
  SELECT
    subject_id,
    product_id,
    event_time,
    seq,
    row_number() OVER (PARTITION BY subject_id ORDER BY event_time DESC, seq DESC, line DESC) AS place
  FROM event_lines
  WHERE subject_id = ANY ((SELECT $1::text[])::text[])
    AND event_type = 'purchase-complete'
    AND event_time > window_start($2, '8760 hours')
    AND event_time <= $2::timestamptz
),
products AS (
  SELECT
    subject_id,
    product_id,
    count(DISTINCT seq)::float8 AS orders,
    min(event_time) AS first,
    max(event_time) AS last,
    sum(
      power(2.0::float8, -date_part('epoch', $2::timestamptz - event_time) / (45 * 86400.0::float8)) ORDER BY event_time
    ) AS decayed,
    row_number() OVER (PARTITION BY subject_id ORDER BY min(place)) AS place
  FROM bought
  GROUP BY subject_id, product_id
)
SELECT
  subject_id AS id,
  array_agg(product_id ORDER BY place) AS keys,
  array_agg(orders ORDER BY place) AS orders,
  array_agg(date_part('epoch', first) ORDER BY place) AS first_time,
  array_agg(date_part('epoch', last) ORDER BY place) AS last_time,
  array_agg(decayed ORDER BY place) AS decayed,
  min(first) + interval '8760 hours' AS valid_until
FROM products
WHERE place <= 2000
GROUP BY subject_id
