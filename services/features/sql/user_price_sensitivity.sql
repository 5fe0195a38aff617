-- Weighted mean price percentile of what the user bought (5 per order line) or viewed (1) in the last 90 days: below 1/3
-- is high sensitivity, above 2/3 low. Compared exactly: sums of integers per size of category, divided to 60 digits,
-- rounded to 50, so that a mean of exactly 1/3 is no matter of rounding.
WITH evidence AS MATERIALIZED (
  SELECT
    subject_id,
    product_id,
    sum(CASE event_type WHEN 'purchase-complete' THEN 5 ELSE 1 END) AS weight,
    min(event_time) AS oldest
  FROM event_lines
  WHERE subject_id = ANY ((SELECT $1::text[])::text[])
    AND event_type IN ('purchase-complete', 'detail-page-view')
    AND event_time > window_start($2, '2160 hours')
    AND event_time <= $2::timestamptz
  GROUP BY subject_id, product_id
),
ranked AS (
  -- LEFT: while an import fills price_rank its statistics mislead, and must not turn the join round.
  SELECT
    e.subject_id,
    p.priced_products,
    sum(e.weight) FILTER (WHERE p.price_rank IS NOT NULL) AS weight,
    sum(e.weight * p.price_rank) AS ranks,
    min(e.oldest) FILTER (WHERE p.price_rank IS NOT NULL) AS oldest
  FROM evidence e
  LEFT JOIN product_signals p USING (product_id)
  GROUP BY e.subject_id, p.priced_products
),
means AS (
  SELECT
    subject_id,
    sum(weight) AS weight,
    round(sum(round(ranks, 60) / (2 * priced_products)), 50) AS percentiles,
    min(oldest) AS oldest
  FROM ranked
  WHERE weight IS NOT NULL
  GROUP BY subject_id
)
SELECT
  subject_id AS id,
  CASE
    WHEN round(3 * percentiles, 48) < weight THEN 'high'
    WHEN round(3 * percentiles, 48) > 2 * weight THEN 'low'
    ELSE 'medium'
  END AS value,
  oldest + interval '2160 hours' AS valid_until
FROM means
