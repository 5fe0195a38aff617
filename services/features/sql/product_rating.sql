-- Catalogue ratings and our users' newest ones together; exact decimals, half-even to 2 digits. A user's newest rating by event
-- time, then by arrival, replaces the older ones.
WITH newest AS (
  SELECT DISTINCT ON (product_id, subject_id) product_id, rating::text::numeric AS rating
  FROM event_lines
  WHERE product_id = ANY ((SELECT $1::text[])::text[]) AND event_type = 'rate' AND event_time <= $2::timestamptz
  ORDER BY product_id, subject_id, event_time DESC, seq DESC, line DESC
),
ratings AS (
  SELECT product_id, sum(rating) AS total, count(*) AS number
  FROM newest
  GROUP BY product_id
  UNION ALL
  SELECT product_id, rating_average::text::numeric * rating_count, rating_count
  FROM product_signals
  WHERE product_id = ANY ((SELECT $1::text[])::text[]) AND rating_average IS NOT NULL AND rating_count > 0
)
SELECT product_id AS id, round_half_even(sum(total), sum(number), 2) AS value
FROM ratings
GROUP BY product_id
