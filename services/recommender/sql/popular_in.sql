-- The $2 most popular available products of each of the top-level categories $1.
SELECT best.id, best.score, NULL AS anchor
FROM unnest($1::text[]) AS wanted (category)
CROSS JOIN LATERAL (
    SELECT p.id, s.popularity AS score
    FROM products p JOIN product_scores s ON s.product_id = p.id
    WHERE p.top_category = wanted.category AND p.available_quantity > 0 AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
    ORDER BY s.popularity DESC, p.id
    LIMIT $2
) best
