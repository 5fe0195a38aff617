-- Available products with the largest inner products with a user's embedding: $1 model, $2 user, $3 how many.
WITH me AS MATERIALIZED (SELECT embedding FROM user_factors WHERE model_id = $1 AND user_id = $2)
SELECT f.product_id AS id, -(f.embedding <#> (SELECT embedding FROM me)) AS score, NULL AS anchor
FROM product_factors f JOIN products p ON p.id = f.product_id
WHERE f.model_id = $1 AND EXISTS (SELECT FROM me) AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
ORDER BY f.embedding <#> (SELECT embedding FROM me)
LIMIT $3
