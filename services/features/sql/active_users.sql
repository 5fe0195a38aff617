-- A page, after the id $1 and of $3, of the users with an event in the longest window.
SELECT DISTINCT subject_id AS id
FROM events
WHERE subject_id > $1 AND event_time > $2::timestamptz - interval '8760 hours'
ORDER BY subject_id
LIMIT $3
