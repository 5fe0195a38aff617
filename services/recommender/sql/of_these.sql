-- The available ones of $1, in that order, $2 at most.
SELECT p.id, -wanted.place::float8 AS score, NULL AS anchor
FROM unnest($1::text[]) WITH ORDINALITY AS wanted (id, place) JOIN products p ON p.id = wanted.id
WHERE is_available(p.available_quantity, p.available_time, p.expire_time, now())
ORDER BY wanted.place
LIMIT $2
