-- The $1 most popular available products, and the $2 most popular ones of each top-level category.
SELECT id FROM (
    SELECT p.id, s.popularity,
        row_number() OVER (ORDER BY s.popularity DESC NULLS LAST, p.id) AS place,
        row_number() OVER (PARTITION BY p.top_category ORDER BY s.popularity DESC NULLS LAST, p.id) AS place_in
    FROM products p LEFT JOIN product_scores s ON s.product_id = p.id
    WHERE is_available(p.available_quantity, p.available_time, p.expire_time, now())
) ranked
WHERE place <= $1 OR place_in <= $2
ORDER BY popularity DESC NULLS LAST, id
