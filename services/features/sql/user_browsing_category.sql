-- Top-level category with the most views of the last hour; a tie goes to the one viewed last. Each product of a
-- detail-page-view is a view; products that the catalogue does not know, or that have no category, have no say.
-- Holds until as many of the leader's views, oldest first, have left as it is ahead by: the others only lose views too.
WITH views AS (
  SELECT
    l.subject_id,
    p.top_category,
    l.event_time,
    row_number() OVER (PARTITION BY l.subject_id ORDER BY l.event_time, l.seq, l.line) AS place
  FROM event_lines l
  JOIN product_signals p USING (product_id)
  WHERE l.subject_id = ANY ((SELECT $1::text[])::text[])
    AND l.event_type = 'detail-page-view'
    AND l.event_time > window_start($2, '60 minutes')
    AND l.event_time <= $2::timestamptz
    AND p.top_category IS NOT NULL
),
categories AS (
  SELECT
    subject_id,
    top_category,
    count(*)::int AS number,
    max(place) AS last_place,
    array_agg(event_time ORDER BY event_time) AS times
  FROM views
  GROUP BY subject_id, top_category
),
followed AS (
  SELECT *, lead(number, 1, 0) OVER (PARTITION BY subject_id ORDER BY number DESC, last_place DESC) AS next_number
  FROM categories
)
SELECT DISTINCT ON (subject_id)
  subject_id AS id,
  top_category AS value,
  times[greatest(1, number - next_number)] + interval '60 minutes' AS valid_until
FROM followed
ORDER BY subject_id, number DESC, last_place DESC
