-- Which of the ids have no event of yesterday or today (UTC).
SELECT subject_id AS id
FROM subjects
WHERE subject_id = ANY ($1) AND last_day < ($2::timestamptz AT TIME ZONE 'UTC')::date - 1
