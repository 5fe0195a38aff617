-- Orders, not lines, of the last 30 x 24 hours.
SELECT subject_id AS id, count(*) AS value, min(event_time) + interval '720 hours' AS valid_until
FROM events
WHERE subject_id = ANY ($1)
  AND event_type = 'purchase-complete'
  AND event_time > $2::timestamptz - interval '720 hours'
  AND event_time <= $2::timestamptz
GROUP BY subject_id
