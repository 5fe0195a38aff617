-- The $1 most popular available products.
SELECT p.id, s.popularity AS score, NULL AS anchor
FROM product_scores s JOIN products p ON p.id = s.product_id
WHERE s.popularity > 0 AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
ORDER BY s.popularity DESC, s.product_id
LIMIT $1
