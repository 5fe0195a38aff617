-- A few events in one exchange with the server: a transaction of statements and copies takes nine, each of which waits for
-- its turn on a busy machine. What it does, and in which order, is what `appending.py` says of the long way.
-- Ids are distinct. No row where one of the guests has signed in: then nothing was stored, and the events are to be sent with
-- their users, the long way. `line_of`: the place of a line's event, from 1 on.
CREATE FUNCTION append_a_few(
  guests text[], guest_locks integer[],
  ids text[], times timestamptz[], subjects text[], users text[], visitors text[], kinds text[], revenues float8[],
  ratings float8[], positions integer[], sessions text[], tokens text[], devices text[], attribute_sets jsonb[],
  line_of integer[], line_numbers smallint[], products text[], quantities integer[], prices float8[]
) RETURNS TABLE (fresh text[], erased text[], ingested bigint, unknown_products text[])
LANGUAGE plpgsql
-- Kept plans that look each of the few up, also in a table that was empty when they were made.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
  -- Statements of their own: whoever waits for a lock looks at what there is once it has it.
  PERFORM pg_advisory_xact_lock_shared(7161802535);
  IF cardinality(guests) > 0 THEN
    PERFORM pg_advisory_xact_lock_shared(716180253, bucket) FROM unnest(guest_locks) AS bucket;
    IF EXISTS (SELECT FROM merged_visitors m WHERE m.visitor_id = ANY (guests)) THEN
      RETURN;
    END IF;
  END IF;

  WITH new AS (
    INSERT INTO event_ids (day, event_id)
    SELECT (sent.at AT TIME ZONE 'UTC')::date, sent.id
    FROM unnest(ids, times, subjects) AS sent (id, at, subject)
    WHERE NOT EXISTS (
      SELECT FROM erasure_salt s JOIN erased_subjects d ON d.digest = sha256(s.salt || convert_to(sent.subject, 'UTF8'))
      WHERE sent.at <= d.until
         OR EXISTS (SELECT FROM erased_events x WHERE x.digest = sha256(s.salt || convert_to(sent.id, 'UTF8')))
    )
    ORDER BY sent.id COLLATE "C"
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
  )
  SELECT coalesce(array_agg(event_id), '{}') INTO fresh FROM new;
  erased := '{}';
  IF cardinality(fresh) < cardinality(ids) THEN
    erased := ARRAY(
      SELECT id FROM unnest(ids) AS id WHERE NOT EXISTS (SELECT FROM event_ids e WHERE e.event_id = id)
    );
  END IF;
  IF cardinality(fresh) = 0 THEN
    RETURN NEXT;
    RETURN;
  END IF;

  WITH sent AS MATERIALIZED (
    SELECT nextval('events_seq_seq') AS seq, e.*
    FROM unnest(
      ids, times, subjects, users, visitors, kinds, revenues, ratings, positions, sessions, tokens, devices, attribute_sets
    ) WITH ORDINALITY AS e (
      id, at, subject, user_id, visitor_id, kind, revenue, rating, "position", session_id, token, device, attributes, place
    )
    WHERE e.id = ANY (fresh)
  ), logged AS (
    INSERT INTO events (seq, event_time, revenue, rating, event_type, position, event_id, user_id, visitor_id, subject_id,
                        session_id, attribution_token, device, attributes)
    SELECT seq, at, revenue, rating, kind::event_type, position, id, user_id, visitor_id, subject,
           session_id, token, device, attributes
    FROM sent
  ), lined AS (
    INSERT INTO event_lines (seq, event_time, price, rating, revenue, event_type, quantity, line, guest, subject_id,
                             product_id)
    SELECT seq, at, l.price, rating,
           CASE WHEN l.number = 0 AND kind = 'purchase-complete' THEN revenue END, kind::event_type, l.quantity, l.number,
           user_id IS NULL, subject, l.product_id
    FROM unnest(line_of, line_numbers, products, quantities, prices) AS l (place, number, product_id, quantity, price)
    JOIN sent USING (place)
    RETURNING product_id
  ), widened AS (
    INSERT INTO subjects AS s (subject_id, first_day, last_day)
    SELECT n.subject, n.first_day, n.last_day
    FROM (
      SELECT subject, min((at AT TIME ZONE 'UTC')::date) AS first_day, max((at AT TIME ZONE 'UTC')::date) AS last_day
      FROM sent
      GROUP BY subject
    ) AS n
    WHERE NOT EXISTS (
      SELECT FROM subjects o
      WHERE o.subject_id = n.subject AND o.first_day <= n.first_day AND o.last_day >= n.last_day
    )
    ORDER BY n.subject COLLATE "C"
    ON CONFLICT (subject_id) DO UPDATE
      SET first_day = least(s.first_day, excluded.first_day), last_day = greatest(s.last_day, excluded.last_day)
  ), ingest AS (
    INSERT INTO ingests (first_event_time, last_event_time) SELECT min(at), max(at) FROM sent
    RETURNING ingest_xid
  )
  SELECT ingest_xid::text::bigint,
         ARRAY(
           SELECT DISTINCT l.product_id FROM lined l
           WHERE NOT EXISTS (SELECT FROM product_signals p WHERE p.product_id = l.product_id)
         )
  INTO ingested, unknown_products
  FROM ingest;
  RETURN NEXT;
END $$;
