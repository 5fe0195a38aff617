-- Users $1 to $2 (excluded) who are gone: two views and an order of each, between 3 and 300 days before $3, of $4
-- products. Straight into the log's tables: what the service would have written when they were here.
WITH made AS (
  SELECT
    nextval('events_seq_seq') AS seq,
    'user_' || lpad(u::text, 7, '0') AS subject_id,
    'gone' || u || '.' || n AS event_id,
    (CASE n WHEN 3 THEN 'purchase-complete' ELSE 'detail-page-view' END)::event_type AS event_type,
    CASE n WHEN 3 THEN 10.0::float8 END AS revenue,
    $3::timestamptz - interval '1 hour' * (72 + (u * 7919 + n * 104729) % 7128) AS event_time,
    'prod_' || lpad(((u * 31 + n * 17) % $4)::text, 7, '0') AS product_id
  FROM generate_series($1::bigint, $2::bigint - 1) AS u, generate_series(1, 3) AS n
),
stored AS (
  INSERT INTO events (seq, event_time, revenue, event_type, event_id, user_id, subject_id, session_id)
  SELECT seq, event_time, revenue, event_type, event_id, subject_id, subject_id, 's-' || subject_id FROM made
),
lines AS (
  INSERT INTO event_lines (seq, event_time, price, revenue, event_type, quantity, line, guest, subject_id, product_id)
  SELECT seq, event_time, 10.0, revenue, event_type, 1, 0, false, subject_id, product_id FROM made
),
ids AS (
  INSERT INTO event_ids (day, event_id) SELECT (event_time AT TIME ZONE 'UTC')::date, event_id FROM made
),
people AS (
  INSERT INTO subjects (first_day, last_day, subject_id)
  SELECT (min(event_time) AT TIME ZONE 'UTC')::date, (max(event_time) AT TIME ZONE 'UTC')::date, subject_id
  FROM made
  GROUP BY subject_id
)
INSERT INTO ingests (first_event_time, last_event_time) SELECT min(event_time), max(event_time) FROM made
