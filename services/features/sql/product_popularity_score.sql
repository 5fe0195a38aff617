-- x = sum of weights halved every 7 days, over the last 30 days; the definitions say that the score is x on a logarithmic
-- scale up to the greatest x of all. It changes by itself when the oldest line leaves and when one of the future comes.
-- Added up in the order of time: doubles in another order give another last digit.
SELECT
  product_id AS id,
  sum(
    CASE event_type WHEN 'purchase-complete' THEN 5.0::float8 WHEN 'add-to-cart' THEN 3.0::float8 ELSE 1.0::float8 END
    * power(2.0::float8, -date_part('epoch', $2::timestamptz - event_time) / (7 * 86400.0::float8))
    ORDER BY event_time, event_type
  ) FILTER (WHERE event_time <= $2) AS value,
  least(
    min(event_time) FILTER (WHERE event_time <= $2) + interval '720 hours',
    min(event_time) FILTER (WHERE event_time > $2)
  ) AS valid_until
FROM event_lines
WHERE product_id = ANY ((SELECT $1::text[])::text[])
  AND event_type IN ('detail-page-view', 'add-to-cart', 'purchase-complete')
  AND event_time > window_start($2, '720 hours')
  -- Nothing is accepted that is further ahead.
  AND event_time <= window_start($2, '-10 minutes')
GROUP BY product_id
