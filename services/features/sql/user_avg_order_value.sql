-- Mean revenue of the orders of the last 365 days: the exact decimal sum over the number of orders, half-even to 2 digits.
-- Orders of unknown revenue (none given, and a line without price) do not count. An order is its line 0.
-- Ids by way of SELECT: the planner does not estimate each of hundreds for each of thirteen months.
SELECT
  subject_id AS id,
  round_half_even(sum(revenue::text::numeric), count(*), 2) AS value,
  min(event_time) + interval '8760 hours' AS valid_until
FROM event_lines
WHERE subject_id = ANY ((SELECT $1::text[])::text[])
  AND event_type = 'purchase-complete'
  AND line = 0
  AND event_time > window_start($2, '8760 hours')
  AND event_time <= $2::timestamptz
  AND revenue IS NOT NULL
GROUP BY subject_id
