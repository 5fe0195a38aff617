-- Which of the ids an event names as its user, or ("~" and the visitor id) as its guest.
SELECT id FROM unnest($1::text[]) AS id WHERE EXISTS (SELECT FROM events WHERE subject_id = id)
