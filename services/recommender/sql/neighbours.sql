-- Available neighbours by text of each of the products $1: up to $2 of each, with the vector of its own text as the
-- server sends it. The index scan goes on (hnsw.iterative_scan) until enough of them are available.
SELECT wanted.id, halfvec_send(a.text_embedding) AS vector, n.ids, n.cosines
FROM unnest($1::text[]) AS wanted (id)
JOIN product_embeddings a ON a.product_id = wanted.id
CROSS JOIN LATERAL (
    SELECT array_agg(near.id) AS ids, array_agg(near.cosine) AS cosines
    FROM (
        SELECT p.id, 1 - (e.text_embedding <=> a.text_embedding) AS cosine
        FROM text_embeddings e JOIN products p ON p.text_digest = e.text_digest
        WHERE p.id <> wanted.id AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
        ORDER BY e.text_embedding <=> a.text_embedding
        LIMIT $2
    ) near
) n
