-- Users $1 to $2 (excluded) are here again: six views and two carts of each within the half hour before $3, of $4
-- products. Into the lines alone, which is what the feature statements read: this is for what Redis keeps of them.
INSERT INTO event_lines (seq, event_time, price, event_type, quantity, line, guest, subject_id, product_id)
SELECT
  nextval('events_seq_seq'),
  $3::timestamptz - interval '1 second' * ((u * 7919 + n * 104729) % 1800),
  10.0,
  (CASE WHEN n > 6 THEN 'add-to-cart' ELSE 'detail-page-view' END)::event_type,
  1,
  0,
  false,
  'user_' || lpad(u::text, 7, '0'),
  'prod_' || lpad(((u * 31 + n * 613) % $4)::text, 7, '0')
FROM generate_series($1::bigint, $2::bigint - 1) AS u, generate_series(1, 8) AS n
