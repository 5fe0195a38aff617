-- Sum of weights (as in popularity) halved every day, over the last 7 days. Added up in the order of time: doubles in
-- another order give another last digit.
SELECT
  product_id AS id,
  sum(
    CASE event_type WHEN 'purchase-complete' THEN 5.0::float8 WHEN 'add-to-cart' THEN 3.0::float8 ELSE 1.0::float8 END
    * power(2.0::float8, -date_part('epoch', $2::timestamptz - event_time) / 86400.0::float8)
    ORDER BY event_time, event_type
  ) AS value
FROM event_lines
WHERE product_id = ANY ((SELECT $1::text[])::text[])
  AND event_type IN ('detail-page-view', 'add-to-cart', 'purchase-complete')
  AND event_time > window_start($2, '168 hours')
  AND event_time <= $2::timestamptz
GROUP BY product_id
