-- A page, after the id $1 and of $3, of the users with an event yesterday or today (UTC): who is to be kept fresh.
SELECT subject_id AS id
FROM subjects
WHERE subject_id > $1 AND last_day >= ($2::timestamptz AT TIME ZONE 'UTC')::date - 1
ORDER BY subject_id
LIMIT $3
