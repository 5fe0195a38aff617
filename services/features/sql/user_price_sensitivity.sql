-- Weighted mean price percentile of what the user bought (5 per order line) or viewed (1) in the last 90 days: below 1/3 is high
-- sensitivity, above 2/3 low. Compared exactly: sums of integers per category, divided to 60 digits, rounded to 50, so that a
-- mean of exactly 1/3 is no matter of rounding.
WITH evidence AS (
  SELECT
    l.subject_id,
    p.priced_products,
    sum(CASE l.event_type WHEN 'purchase-complete' THEN 5 ELSE 1 END) AS weight,
    sum(CASE l.event_type WHEN 'purchase-complete' THEN 5 ELSE 1 END * p.price_rank::bigint) AS ranks
  FROM event_lines l
  JOIN product_signals p USING (product_id)
  WHERE l.subject_id = ANY ($1)
    AND l.event_type IN ('purchase-complete', 'detail-page-view')
    AND l.event_time > $2::timestamptz - interval '2160 hours'
    AND l.event_time <= $2::timestamptz
    AND p.price_rank IS NOT NULL
  GROUP BY l.subject_id, p.priced_products
),
position AS (
  SELECT subject_id, sum(weight) AS weight, round(sum(round(ranks, 60) / (2 * priced_products)), 50) AS percentiles
  FROM evidence
  GROUP BY subject_id
)
SELECT
  subject_id AS id,
  CASE
    WHEN round(3 * percentiles, 48) < weight THEN 'high'
    WHEN round(3 * percentiles, 48) > 2 * weight THEN 'low'
    ELSE 'medium'
  END AS value
FROM position
