-- Available neighbours by text of the products $1, outside of these, up to $2 of each: of those that are stored, and of
-- what can be found since. Nearer than the farthest of the stored ones there are no others. Left out is a product of
-- which too much can be found since, or whose own text may be newer.
SELECT wanted.id, n.whole, found.ids, found.cosines
FROM unnest($1::text[]) AS wanted (id)
JOIN text_neighbours n ON n.product_id = wanted.id
JOIN products own ON own.id = wanted.id AND own.found_seq <= n.change_seq
JOIN text_embeddings a ON a.text_digest = own.text_digest
CROSS JOIN LATERAL (
    SELECT array_agg(near.id) AS ids, array_agg(near.cosine) AS cosines
    FROM (
        SELECT seen.id, seen.cosine
        FROM (
            SELECT candidates.id, looked.cosine, looked.shown,
                min(looked.cosine) FILTER (WHERE looked.found_seq <= n.change_seq) OVER () AS least
            FROM (
                SELECT unnest(n.near) AS id
                UNION
                (SELECT f.id FROM products f
                 WHERE f.found_seq > n.change_seq AND f.found_seq > 0 ORDER BY f.found_seq LIMIT 256)
            ) AS candidates
            -- Each by its key: joined at once, so few of them would seem worth a look at all products.
            CROSS JOIN LATERAL (
                SELECT p.found_seq, 1 - (e.text_embedding <=> a.text_embedding) AS cosine,
                    is_available(p.available_quantity, p.available_time, p.expire_time, now()) AS shown
                FROM products p JOIN text_embeddings e ON e.text_digest = p.text_digest
                WHERE p.id = candidates.id LIMIT 1
            ) looked
        ) seen
        WHERE seen.shown AND seen.id <> ALL ($1) AND (n.whole OR seen.cosine >= seen.least)
        ORDER BY seen.cosine DESC, seen.id
        LIMIT $2
    ) near
) found
WHERE NOT EXISTS (
    SELECT FROM products f
    WHERE f.found_seq > n.change_seq AND f.found_seq > 0 ORDER BY f.found_seq OFFSET 256
)
