-- The $2 most popular available products of the top-level category $1. The category is a copy, as old as the score.
SELECT p.id, s.popularity AS score, NULL AS anchor
FROM product_scores s JOIN products p ON p.id = s.product_id
WHERE s.top_category = $1 AND s.popularity > 0
    AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
ORDER BY s.popularity DESC, s.product_id
LIMIT $2
