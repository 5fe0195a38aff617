-- What the scorer reads of the available ones of $1; $2 anchors, $3 their weights. $4: the vectors of the texts as well,
-- as the server sends them, for the driver's own codec makes Python objects.
WITH anchors AS MATERIALIZED (
    SELECT wanted.weight, e.text_embedding
    FROM unnest($2::text[], $3::float8[]) AS wanted (id, weight)
    JOIN product_embeddings e ON e.product_id = wanted.id
)
SELECT p.id, p.title, p.top_category, p.brand, p.price,
    p.available_quantity <= p.low_stock_threshold AS low_stock, s.popularity, s.rating,
    (SELECT max(anchors.weight * (1 - (e.text_embedding <=> anchors.text_embedding))) FROM anchors) AS similarity,
    CASE WHEN $4::boolean THEN halfvec_send(e.text_embedding) END AS vector
FROM products p
LEFT JOIN text_embeddings e ON e.text_digest = p.text_digest
LEFT JOIN product_scores s ON s.product_id = p.id
WHERE p.id = ANY ($1) AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
