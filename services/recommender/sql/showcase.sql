-- The $1 most popular available products, and the $2 most popular ones of each top-level category: some steps of an index
-- for each category, whatever the size of the catalogue. Where fewer have a score, others by id. Categories are copies,
-- as old as the scores.
WITH RECURSIVE categories AS (
    (SELECT top_category FROM product_scores ORDER BY top_category LIMIT 1)
    UNION ALL
    SELECT (SELECT s.top_category FROM product_scores s WHERE s.top_category > c.top_category ORDER BY s.top_category LIMIT 1)
    FROM categories c WHERE c.top_category IS NOT NULL
), overall AS MATERIALIZED (
    SELECT p.id, s.popularity
    FROM product_scores s JOIN products p ON p.id = s.product_id
    WHERE is_available(p.available_quantity, p.available_time, p.expire_time, now())
    ORDER BY s.popularity DESC, s.product_id LIMIT $1
)
SELECT id FROM (
    SELECT id, popularity FROM overall
    UNION
    SELECT best.id, best.popularity
    FROM categories c CROSS JOIN LATERAL (
        SELECT p.id, s.popularity
        FROM product_scores s JOIN products p ON p.id = s.product_id
        WHERE s.top_category = c.top_category AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
        ORDER BY s.popularity DESC, s.product_id LIMIT $2
    ) best
    UNION
    (SELECT p.id, NULL
     FROM products p
     WHERE is_available(p.available_quantity, p.available_time, p.expire_time, now())
        AND NOT EXISTS (SELECT FROM product_scores s WHERE s.product_id = p.id)
     ORDER BY p.id LIMIT greatest(0, $1 - (SELECT count(*) FROM overall)))
) shown
ORDER BY popularity DESC NULLS LAST, id
