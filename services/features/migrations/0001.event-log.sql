-- The event log. Events are immutable; seq orders those of one sender's request as they were sent.
CREATE TYPE event_type AS ENUM (
  'home-page-view', 'category-page-view', 'detail-page-view', 'search', 'add-to-cart', 'remove-from-cart',
  'purchase-complete', 'rate', 'impression', 'click'
);

CREATE TABLE events (
  event_id text COLLATE "C" PRIMARY KEY,
  seq bigint GENERATED ALWAYS AS IDENTITY,
  -- Lets a reader take exactly the events whose transactions have ended: see the ADR on the log cursor.
  ingest_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  ingest_time timestamptz NOT NULL DEFAULT now(),
  event_type event_type NOT NULL,
  user_id text COLLATE "C",
  visitor_id text COLLATE "C",
  -- Whose event it is: the user, or the guest when nobody is signed in.
  subject_id text COLLATE "C" NOT NULL,
  session_id text,
  event_time timestamptz NOT NULL,
  -- Doubles as they were sent; cast by way of text (revenue::text::numeric) they are the exact decimals.
  revenue float8,
  rating float8,
  position integer,
  attribution_token text,
  device text,
  attributes jsonb
);
CREATE INDEX events_by_transaction ON events (ingest_xid);
CREATE INDEX events_by_subject ON events (subject_id, event_type, event_time);

-- One row per product of an event, with what the feature statements need of the event itself.
CREATE TABLE event_lines (
  seq bigint NOT NULL,
  line smallint NOT NULL,
  event_type event_type NOT NULL,
  subject_id text COLLATE "C" NOT NULL,
  guest boolean NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  quantity integer NOT NULL,
  price float8,
  rating float8,
  event_time timestamptz NOT NULL
);
CREATE INDEX event_lines_by_subject ON event_lines (subject_id, event_type, event_time);
CREATE INDEX event_lines_by_product ON event_lines (product_id, event_type, event_time);
CREATE INDEX event_lines_by_time ON event_lines (event_time);
-- The catalogue as it was streamed to us; a product without category or price has no price rank.
CREATE TABLE product_signals (
  product_id text COLLATE "C" PRIMARY KEY,
  top_category text COLLATE "C",
  price float8,
  available_quantity integer NOT NULL,
  low_stock_threshold integer NOT NULL,
  rating_average float8,
  rating_count integer NOT NULL,
  -- Within its category, among the priced: 2 x cheaper products + equally priced ones (itself too), and the number
  -- of products; the price percentile is price_rank / (2 x priced_products), kept as integers to be exact.
  price_rank integer,
  priced_products integer,
  -- Rises by one with each restart of the stream; what it did not name again by its end is gone.
  generation integer NOT NULL
);
CREATE INDEX product_signals_by_category ON product_signals (top_category);

-- Products that changed or went, and whose features are not yet queued for refresh.
CREATE TABLE unannounced_products (product_id text COLLATE "C" PRIMARY KEY);

CREATE TABLE product_signals_cursor (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  cursor text NOT NULL,
  generation integer NOT NULL
);
INSERT INTO product_signals_cursor (cursor, generation) VALUES ('', 0);

-- numerator / denominator (both >= 0) to a number of digits, exact, ties to even. PostgreSQL's round() takes ties away from zero.
CREATE FUNCTION round_half_even(numerator numeric, denominator numeric, digits integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN round(
  (div(numerator * 10::numeric ^ digits, denominator)
    + CASE
        WHEN 2 * mod(numerator * 10::numeric ^ digits, denominator) > denominator THEN 1
        WHEN 2 * mod(numerator * 10::numeric ^ digits, denominator) = denominator
          THEN mod(div(numerator * 10::numeric ^ digits, denominator), 2)
        ELSE 0
      END)
  / 10::numeric ^ digits,
  digits);
