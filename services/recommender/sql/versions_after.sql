-- The first $2 products above $1, by id, each with the change that made it what it is.
SELECT p.id, p.change_seq FROM products p WHERE p.id > $1 ORDER BY p.id LIMIT $2
