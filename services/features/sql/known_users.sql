-- Which of the ids an event names as its user, or ("~" and the visitor id) as its guest.
SELECT subject_id AS id FROM subjects WHERE subject_id = ANY ($1)
