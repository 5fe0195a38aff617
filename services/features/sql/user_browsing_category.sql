-- Top-level category with the most views of the last hour; a tie goes to the one viewed last. Each product of a
-- detail-page-view is a view; products that the catalogue does not know, or that have no category, have no say.
WITH views AS (
  SELECT
    l.subject_id,
    p.top_category,
    row_number() OVER (PARTITION BY l.subject_id ORDER BY l.event_time, l.seq, l.line) AS place
  FROM event_lines l
  JOIN product_signals p USING (product_id)
  WHERE l.subject_id = ANY ($1)
    AND l.event_type = 'detail-page-view'
    AND l.event_time > $2::timestamptz - interval '60 minutes'
    AND l.event_time <= $2::timestamptz
    AND p.top_category IS NOT NULL
)
SELECT DISTINCT ON (subject_id) subject_id AS id, top_category AS value
FROM views
GROUP BY subject_id, top_category
ORDER BY subject_id, count(*) DESC, max(place) DESC
