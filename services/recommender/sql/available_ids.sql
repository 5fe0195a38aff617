-- Up to $2 ids of available products above $1.
SELECT p.id FROM products p
WHERE p.id > $1 AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
ORDER BY p.id LIMIT $2
