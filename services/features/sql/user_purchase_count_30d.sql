-- Orders, not lines, of the last 30 x 24 hours. An order is its line 0.
SELECT subject_id AS id, count(*) AS value, min(event_time) + interval '720 hours' AS valid_until
FROM event_lines
WHERE subject_id = ANY ((SELECT $1::text[])::text[])
  AND event_type = 'purchase-complete'
  AND line = 0
  AND event_time > window_start($2, '720 hours')
  AND event_time <= $2::timestamptz
GROUP BY subject_id
