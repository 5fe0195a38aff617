-- Available neighbours by text of each anchor: $1 anchors' ids, $2 their weights, $3 how many for each.
-- The index scan goes on (hnsw.iterative_scan) until enough of them are available.
SELECT n.id, wanted.weight * n.cosine AS score, wanted.id AS anchor
FROM unnest($1::text[], $2::float8[]) AS wanted (id, weight)
JOIN product_embeddings a ON a.product_id = wanted.id
CROSS JOIN LATERAL (
    SELECT p.id, 1 - (e.text_embedding <=> a.text_embedding) AS cosine
    FROM text_embeddings e JOIN products p ON p.text_digest = e.text_digest
    WHERE p.id <> ALL ($1) AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
    ORDER BY e.text_embedding <=> a.text_embedding
    LIMIT $3
) n
