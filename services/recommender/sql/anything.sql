-- $1 available products outside of $2, at least, if there are: popular ones, then the newest, which may repeat them
-- (so twice as many).
(SELECT p.id, 1 + s.popularity AS score, NULL AS anchor
 FROM product_scores s JOIN products p ON p.id = s.product_id
 WHERE s.popularity > 0 AND s.product_id <> ALL ($2) AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
 ORDER BY s.popularity DESC, s.product_id LIMIT $1)
UNION ALL
(SELECT p.id, 0, NULL FROM products p
 WHERE p.available_quantity > 0 AND p.id <> ALL ($2) AND is_available(p.available_quantity, p.available_time, p.expire_time, now())
 ORDER BY p.create_time DESC, p.id LIMIT 2 * $1)
