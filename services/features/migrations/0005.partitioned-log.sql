-- The log in partitions: events by day, their lines by month; see the ADR on the partitioned log. All days are UTC.

-- The start of a window. Never inlined and immutable (for lengths in hours, as all windows are): the planner knows the
-- result and plans the window's partitions alone. "$2 - interval ..." depends on the session's time zone, and plans all.
CREATE FUNCTION window_start(instant timestamptz, length interval) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN instant - length;
END $$;

ALTER TABLE events RENAME TO events_before;
ALTER TABLE event_lines RENAME TO event_lines_before;
ALTER SEQUENCE events_seq_seq RENAME TO events_before_seq;
ALTER INDEX events_by_transaction RENAME TO events_before_by_transaction;
ALTER INDEX events_by_subject RENAME TO events_before_by_subject;
ALTER INDEX event_lines_by_subject RENAME TO event_lines_before_by_subject;
ALTER INDEX event_lines_by_product RENAME TO event_lines_before_by_product;
ALTER INDEX event_lines_by_time RENAME TO event_lines_before_by_time;

CREATE SEQUENCE events_seq_seq;

-- Columns by falling alignment: a row has no holes.
CREATE TABLE events (
  seq bigint NOT NULL DEFAULT nextval('events_seq_seq'),
  -- Lets a reader take exactly the events whose transactions have ended: see the ADR on the log cursor.
  ingest_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  ingest_time timestamptz NOT NULL DEFAULT now(),
  event_time timestamptz NOT NULL,
  -- Doubles as they were sent; cast by way of text (revenue::text::numeric) they are the exact decimals.
  revenue float8,
  rating float8,
  event_type event_type NOT NULL,
  position integer,
  event_id text COLLATE "C" NOT NULL,
  user_id text COLLATE "C",
  visitor_id text COLLATE "C",
  subject_id text COLLATE "C" NOT NULL,
  session_id text,
  attribution_token text,
  device text,
  attributes jsonb
) PARTITION BY RANGE (event_time);
COMMENT ON COLUMN events.subject_id IS 'Whose event it is: the user, or "~" and the visitor id when nobody is signed in.';
ALTER SEQUENCE events_seq_seq OWNED BY events.seq;

-- One row per product of an event, with what the feature statements need of the event itself.
CREATE TABLE event_lines (
  seq bigint NOT NULL,
  event_time timestamptz NOT NULL,
  price float8,
  rating float8,
  -- Of the whole order, on its line 0. Orders are counted there too: every order has a line.
  revenue float8,
  event_type event_type NOT NULL,
  quantity integer NOT NULL,
  line smallint NOT NULL,
  guest boolean NOT NULL,
  subject_id text COLLATE "C" NOT NULL,
  product_id text COLLATE "C" NOT NULL
) PARTITION BY RANGE (event_time);

-- What is stored already, whatever its day: the log's partitions know only their own.
CREATE TABLE event_ids (
  day date NOT NULL,
  event_id text COLLATE "C" PRIMARY KEY
);

-- Who has events, and the days between which they lie. Room in the pages: a row moves on once a day in its own page.
CREATE TABLE subjects (
  first_day date NOT NULL,
  last_day date NOT NULL,
  subject_id text COLLATE "C" PRIMARY KEY
) WITH (fillfactor = 80);

-- Transactions that wrote events, and between which times: whoever follows the log finds them without reading it.
CREATE TABLE ingests (
  ingest_xid xid8 PRIMARY KEY DEFAULT pg_current_xact_id(),
  ingest_time timestamptz NOT NULL DEFAULT now(),
  first_event_time timestamptz NOT NULL,
  last_event_time timestamptz NOT NULL
);

-- The partitions of days and of their months. Attached, not created as partitions: that would lock out every reader and
-- writer of the log. One at a time, and the look whether they are there is under the lock.
CREATE FUNCTION ensure_log_partitions(days date[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  wanted record;
BEGIN
  PERFORM pg_advisory_xact_lock(7161802536);
  FOR wanted IN
    SELECT 'events' AS parent, to_char(day, '"events_"YYYYMMDD') AS name, day AS first, day + 1 AS next
    FROM (SELECT DISTINCT unnest(days) AS day) AS asked
    UNION ALL
    SELECT 'event_lines', to_char(month, '"event_lines_"YYYYMM'), month::date, (month + interval '1 month')::date
    FROM (SELECT DISTINCT date_trunc('month', unnest(days)::timestamp) AS month) AS asked
    ORDER BY name
  LOOP
    CONTINUE WHEN to_regclass(wanted.name) IS NOT NULL;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS)', wanted.name, wanted.parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', wanted.parent, wanted.name,
                   to_char(wanted.first, 'YYYY-MM-DD 00:00:00+00'), to_char(wanted.next, 'YYYY-MM-DD 00:00:00+00'));
  END LOOP;
END $$;

DO $$
BEGIN
  PERFORM ensure_log_partitions(
    ARRAY(SELECT (event_time AT TIME ZONE 'UTC')::date FROM events_before
          UNION SELECT (event_time AT TIME ZONE 'UTC')::date FROM event_lines_before)
  );
  PERFORM setval('events_seq_seq', last_value, is_called) FROM events_before_seq;
END $$;

INSERT INTO events (seq, ingest_xid, ingest_time, event_time, revenue, rating, event_type, position, event_id, user_id,
                    visitor_id, subject_id, session_id, attribution_token, device, attributes)
SELECT seq, ingest_xid, ingest_time, event_time, revenue, rating, event_type, position, event_id, user_id,
       visitor_id, subject_id, session_id, attribution_token, device, attributes
FROM events_before
ORDER BY seq;

INSERT INTO event_lines (seq, event_time, price, rating, revenue, event_type, quantity, line, guest, subject_id,
                         product_id)
SELECT l.seq, l.event_time, l.price, l.rating,
       CASE WHEN l.line = 0 AND l.event_type = 'purchase-complete' THEN e.revenue END,
       l.event_type, l.quantity, l.line, l.guest, l.subject_id, l.product_id
FROM event_lines_before l LEFT JOIN events_before e ON e.seq = l.seq
ORDER BY l.seq, l.line;

INSERT INTO event_ids (day, event_id) SELECT (event_time AT TIME ZONE 'UTC')::date, event_id FROM events_before;

INSERT INTO subjects (subject_id, first_day, last_day)
SELECT subject_id, (min(event_time) AT TIME ZONE 'UTC')::date, (max(event_time) AT TIME ZONE 'UTC')::date
FROM events_before
GROUP BY subject_id;

INSERT INTO ingests (ingest_xid, ingest_time, first_event_time, last_event_time)
SELECT ingest_xid, min(ingest_time), min(event_time), max(event_time) FROM events_before GROUP BY ingest_xid;

DROP TABLE events_before, event_lines_before;

-- After the rows: one sort is cheaper than a search for each.
CREATE INDEX events_by_transaction ON events (ingest_xid);
CREATE INDEX events_by_subject ON events (subject_id, event_time);
CREATE INDEX event_lines_by_subject ON event_lines (subject_id, event_type, event_time);
CREATE INDEX event_lines_by_product ON event_lines (product_id, event_type, event_time);
CREATE INDEX event_lines_by_time ON event_lines (event_time);
CREATE INDEX ingests_by_arrival ON ingests (ingest_time);
