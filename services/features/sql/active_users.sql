-- A page, after the id $1 and of $3, of the users with an event in the longest window, to the day.
SELECT subject_id AS id
FROM subjects
WHERE subject_id > $1 AND last_day >= (window_start($2, '8760 hours') AT TIME ZONE 'UTC')::date
ORDER BY subject_id
LIMIT $3
