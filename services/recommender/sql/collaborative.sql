-- Available products with the largest inner products with a user's vector: $1 model, $2 vector, $3 how many.
SELECT f.product_id AS id, -(f.embedding <#> $2) AS score, NULL AS anchor
FROM product_factors f JOIN products p ON p.id = f.product_id
WHERE f.model_id = $1 AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
ORDER BY f.embedding <#> $2
LIMIT $3
