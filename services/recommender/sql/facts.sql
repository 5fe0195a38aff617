-- What the scorer reads of the available ones of $1; $2 anchors, $3 their weights, $4 model, $5 user.
WITH anchors AS MATERIALIZED (
    SELECT wanted.weight, e.text_embedding
    FROM unnest($2::text[], $3::float8[]) AS wanted (id, weight)
    JOIN product_embeddings e ON e.product_id = wanted.id
), me AS MATERIALIZED (SELECT embedding FROM user_factors WHERE model_id = $4 AND user_id = $5)
SELECT p.id, p.title, p.top_category, p.brand, p.price,
    p.available_quantity <= p.low_stock_threshold AS low_stock, s.popularity, s.rating,
    (SELECT max(anchors.weight * (1 - (e.text_embedding <=> anchors.text_embedding))) FROM anchors) AS similarity,
    -(f.embedding <#> (SELECT embedding FROM me)) AS collaborative
FROM products p
LEFT JOIN text_embeddings e ON e.text_digest = p.text_digest
LEFT JOIN product_scores s ON s.product_id = p.id
LEFT JOIN product_factors f ON f.model_id = $4 AND f.product_id = p.id
WHERE p.id = ANY ($1) AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
