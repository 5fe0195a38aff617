-- The greatest x of all products (see product_popularity_score.sql) at each of the instants $1.
-- Only who could be the greatest is followed from instant to instant: whose lines between the first instant's window and
-- the last instant, none having left, sum up to at least what another's have that are in the window all the time.
-- Weights are taken as of the first instant: x(t) = sum * 2^(-(t - first) / 7 days).
WITH asked AS MATERIALIZED (
  SELECT DISTINCT at FROM unnest($1::timestamptz[]) AS at
), span AS MATERIALIZED (
  SELECT min(at) AS first, max(at) AS last FROM asked
), bounds AS MATERIALIZED (
  SELECT
    product_id,
    sum(weight) AS upper,
    sum(weight) FILTER (WHERE event_time <= first AND event_time > last - interval '720 hours') AS lower
  FROM span CROSS JOIN LATERAL (
    SELECT
      product_id,
      event_time,
      CASE event_type WHEN 'purchase-complete' THEN 5.0::float8 WHEN 'add-to-cart' THEN 3.0::float8 ELSE 1.0::float8 END
      * power(2.0::float8, date_part('epoch', event_time - first) / (7 * 86400.0::float8)) AS weight
    FROM event_lines
    WHERE event_type IN ('detail-page-view', 'add-to-cart', 'purchase-complete')
      AND event_time > first - interval '720 hours'
      AND event_time <= last
  ) AS line
  GROUP BY product_id
), candidates AS MATERIALIZED (
  -- The last digits of a sum depend on its order.
  SELECT product_id FROM bounds WHERE upper >= coalesce((SELECT max(lower) FROM bounds), 0) * (1 - 1e-9)
), lines AS MATERIALIZED (
  SELECT
    l.product_id,
    l.event_time,
    CASE l.event_type WHEN 'purchase-complete' THEN 5.0::float8 WHEN 'add-to-cart' THEN 3.0::float8 ELSE 1.0::float8 END
    * power(2.0::float8, date_part('epoch', l.event_time - (SELECT first FROM span)) / (7 * 86400.0::float8)) AS weight
  FROM event_lines l
  WHERE l.product_id = ANY (ARRAY(SELECT product_id FROM candidates))
    AND l.event_type IN ('detail-page-view', 'add-to-cart', 'purchase-complete')
    AND l.event_time > (SELECT first - interval '720 hours' FROM span)
    AND l.event_time <= (SELECT last FROM span)
), changes AS (
  -- A line counts from its time on, and no longer from the end of its window on.
  SELECT product_id, event_time AS at, 1 AS line, weight, false AS asked FROM lines
  UNION ALL
  SELECT product_id, event_time + interval '720 hours', -1, -weight, false FROM lines
  UNION ALL
  SELECT product_id, at, 0, 0, true FROM candidates CROSS JOIN asked
), running AS (
  SELECT
    at,
    asked,
    sum(line) OVER before AS lines,
    sum(weight) OVER before AS x
  FROM changes
  WINDOW before AS (PARTITION BY product_id ORDER BY at RANGE UNBOUNDED PRECEDING)
)
SELECT
  at,
  max(x) * power(2.0::float8, -date_part('epoch', at - (SELECT first FROM span)) / (7 * 86400.0::float8)) AS value
FROM running
WHERE asked AND lines > 0 -- without lines, x is what rounding has left
GROUP BY at
