-- The $1 available products wanted most since yesterday.
SELECT p.id, s.trend AS score, NULL AS anchor
FROM product_scores s JOIN products p ON p.id = s.product_id
WHERE s.trend > 0 AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
ORDER BY s.trend DESC, s.product_id
LIMIT $1
