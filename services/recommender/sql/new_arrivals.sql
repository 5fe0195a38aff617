-- The $1 newest available products of the last 30 days. What came with the catalogue's first load is no arrival,
-- however young the shop.
SELECT p.id, extract(epoch FROM p.create_time)::float8 AS score, NULL AS anchor
FROM products p
WHERE p.available_quantity > 0 AND is_available(p.available_quantity, p.available_time, p.expire_time, now()) AND p.create_time > now() - interval '30 days'
    AND p.create_time > (SELECT min(create_time) FROM products WHERE available_quantity > 0) + interval '1 hour'
ORDER BY p.create_time DESC, p.id
LIMIT $1
