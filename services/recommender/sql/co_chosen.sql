-- Available neighbours by product embeddings of each anchor: $1 model, $2 anchors' ids, $3 their weights, $4 how many
-- for each. The index knows inner products, which favour what everybody buys; the cosine, which does not, picks the
-- nearest among twice as many.
SELECT n.id, wanted.weight * n.cosine AS score, wanted.id AS anchor
FROM unnest($2::text[], $3::float8[]) AS wanted (id, weight)
JOIN product_factors a ON a.model_id = $1 AND a.product_id = wanted.id
CROSS JOIN LATERAL (
    SELECT near.id, near.cosine FROM (
        SELECT f.product_id AS id, 1 - (f.embedding <=> a.embedding) AS cosine
        FROM product_factors f JOIN products p ON p.id = f.product_id
        WHERE f.model_id = $1 AND f.product_id <> ALL ($2) AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
        ORDER BY f.embedding <#> a.embedding
        LIMIT 2 * $4::int
    ) near
    ORDER BY near.cosine DESC, near.id LIMIT $4
) n
