-- The greatest x of all products (see product_popularity_score.sql) at each of the instants $1.
-- Only who could be the greatest is followed from instant to instant. Of each day (of 24 hours from the first instant on)
-- that has instants: whose lines up to its last instant, none having left, sum up to at least what another's do that are in
-- the window all the time. Weights are taken as of the first instant: x(t) = sum * 2^(-(t - first) / 7 days).
WITH span AS MATERIALIZED (
  SELECT min(at) AS first, max(at) AS last FROM unnest($1::timestamptz[]) AS at
), asked AS MATERIALIZED (
  SELECT DISTINCT at, date_part('epoch', at - first) AS seconds, floor(date_part('epoch', at - first) / 86400) AS day
  FROM span CROSS JOIN unnest($1::timestamptz[]) AS at
), days AS MATERIALIZED (
  SELECT day, min(seconds) AS first, max(seconds) AS last FROM asked GROUP BY day
), sums AS MATERIALIZED (
  SELECT
    product_id,
    line.day,
    coalesce(seconds <= days.first, true) AS before,
    sum(importance * power(2.0::float8, seconds / (7 * 86400.0::float8))) AS weight
  FROM (
    SELECT product_id, importance, seconds, floor(seconds / 86400) AS day
    FROM (
      SELECT
        product_id,
        CASE event_type WHEN 'purchase-complete' THEN 5.0::float8 WHEN 'add-to-cart' THEN 3.0::float8 ELSE 1.0::float8 END
          AS importance,
        date_part('epoch', event_time - (SELECT first FROM span)) AS seconds
      FROM event_lines
      WHERE event_type IN ('detail-page-view', 'add-to-cart', 'purchase-complete')
        AND event_time > (SELECT first - interval '720 hours' FROM span)
        AND event_time <= (SELECT last FROM span)
      OFFSET 0 -- seconds once for each line
    ) AS line
  ) AS line LEFT JOIN days USING (day)
  GROUP BY product_id, line.day, before
), bounds AS MATERIALIZED (
  SELECT
    days.day,
    product_id,
    sum(weight) AS upper,
    sum(weight) FILTER (WHERE (sums.day < days.day OR before) AND sums.day > floor(last / 86400 - 30)) AS lower
  FROM days JOIN sums ON sums.day BETWEEN floor(first / 86400 - 30) AND days.day
  GROUP BY days.day, product_id
), candidates AS MATERIALIZED (
  -- The last digits of a sum depend on its order.
  SELECT day, product_id
  FROM bounds JOIN (SELECT day, max(lower) AS least FROM bounds GROUP BY day) AS greatest USING (day)
  WHERE upper >= coalesce(least, 0) * (1 - 1e-9)
), lines AS MATERIALIZED (
  SELECT
    l.product_id,
    l.event_time,
    CASE l.event_type WHEN 'purchase-complete' THEN 5.0::float8 WHEN 'add-to-cart' THEN 3.0::float8 ELSE 1.0::float8 END
    * power(2.0::float8, date_part('epoch', l.event_time - (SELECT first FROM span)) / (7 * 86400.0::float8)) AS weight
  FROM event_lines l
  WHERE l.product_id = ANY (ARRAY(SELECT DISTINCT product_id FROM candidates))
    AND l.event_type IN ('detail-page-view', 'add-to-cart', 'purchase-complete')
    AND l.event_time > (SELECT first - interval '720 hours' FROM span)
    AND l.event_time <= (SELECT last FROM span)
), changes AS (
  -- A line counts from its time on, and no longer from the end of its window on.
  SELECT product_id, event_time AS at, 1 AS line, weight, false AS asked FROM lines
  UNION ALL
  SELECT product_id, event_time + interval '720 hours', -1, -weight, false FROM lines
  UNION ALL
  SELECT product_id, asked.at, 0, 0, true FROM candidates JOIN asked USING (day)
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
