-- What is kept in memory of products, available or not; the vectors of their texts as the server sends them. Which
-- products, the caller adds.
SELECT p.id, p.title, p.top_category, p.brand, p.price, p.available_quantity, p.low_stock_threshold,
    extract(epoch FROM p.available_time)::float8, extract(epoch FROM p.expire_time)::float8,
    s.popularity, CASE WHEN s.top_category = p.top_category THEN s.trend END, s.rating,
    p.text_digest, halfvec_send(e.text_embedding), p.change_seq
FROM products p
LEFT JOIN text_embeddings e ON e.text_digest = p.text_digest
LEFT JOIN product_scores s ON s.product_id = p.id
