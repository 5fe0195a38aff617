-- What several feature statements of users have in common. Plain SQL functions: the planner puts their bodies in the place
-- of their calls, so that windows choose partitions and indexes as if written out. One whose meaning changes gets another
-- name: a stored value is known by the text of its statement.

-- The products of a user's lines of one event type within a time, each once, newest first, at most so many.
CREATE FUNCTION recent_products(ids text[], instant timestamptz, kind event_type, length interval, most integer)
RETURNS TABLE (id text, value text[], valid_until timestamptz) LANGUAGE sql STABLE PARALLEL SAFE AS $$
  WITH newest AS (
    SELECT DISTINCT ON (subject_id, product_id) subject_id, product_id, event_time, seq, line
    FROM event_lines
    WHERE subject_id = ANY ((SELECT ids)::text[])
      AND event_type = kind
      AND event_time > window_start(instant, length)
      AND event_time <= instant
    ORDER BY subject_id, product_id, event_time DESC, seq DESC, line DESC
  ),
  placed AS (
    SELECT
      subject_id,
      product_id,
      event_time,
      row_number() OVER (PARTITION BY subject_id ORDER BY event_time DESC, seq DESC, line DESC) AS place
    FROM newest
  )
  SELECT subject_id, array_agg(product_id ORDER BY place), min(event_time) + length
  FROM placed
  WHERE place <= most
  GROUP BY subject_id
$$;

-- How a user's interest is shared out over the categories or the brands of products: views count 1, carts 3, order lines 5,
-- halved every 30 days, over 180 days; at most 20, greatest first, ties by name. All weights halve alike, so shares hold
-- until a line leaves. Added up in the order of time: doubles in another order give another last digit.
CREATE FUNCTION interest_shares(ids text[], instant timestamptz, of_brands boolean)
RETURNS TABLE (id text, keys text[], share float8[], valid_until timestamptz) LANGUAGE sql STABLE PARALLEL SAFE AS $$
  WITH weights AS (
    SELECT
      l.subject_id,
      CASE WHEN of_brands THEN p.brand ELSE p.top_category END AS name,
      sum(
        CASE l.event_type WHEN 'purchase-complete' THEN 5.0::float8 WHEN 'add-to-cart' THEN 3.0::float8 ELSE 1.0::float8 END
        * power(2.0::float8, -date_part('epoch', instant - l.event_time) / (30 * 86400.0::float8))
        ORDER BY l.event_time, l.seq, l.line
      ) AS weight,
      min(l.event_time) AS oldest
    FROM event_lines l
    JOIN product_signals p USING (product_id)
    WHERE l.subject_id = ANY ((SELECT ids)::text[])
      AND l.event_type IN ('detail-page-view', 'add-to-cart', 'purchase-complete')
      AND l.event_time > window_start(instant, '4320 hours')
      AND l.event_time <= instant
      AND CASE WHEN of_brands THEN p.brand ELSE p.top_category END IS NOT NULL
    GROUP BY 1, 2
  ),
  placed AS (
    SELECT
      subject_id,
      name,
      weight / sum(weight) OVER everything AS share,
      min(oldest) OVER everything AS oldest,
      row_number() OVER (PARTITION BY subject_id ORDER BY weight DESC, name) AS place
    FROM weights
    WINDOW everything AS (PARTITION BY subject_id)
  )
  SELECT
    subject_id,
    array_agg(name ORDER BY place),
    array_agg(share ORDER BY place),
    min(oldest) + interval '4320 hours'
  FROM placed
  WHERE place <= 20
  GROUP BY subject_id
$$;

-- The session under way: what a user did (an impression is done to them) with pauses of at most 30 minutes, the last of it
-- less than 30 minutes ago. Of one that is older than two days, the last two days.
CREATE FUNCTION sessions(ids text[], instant timestamptz)
RETURNS TABLE (id text, start timestamptz, valid_until timestamptz) LANGUAGE sql STABLE PARALLEL SAFE AS $$
  WITH done AS (
    SELECT subject_id, event_time, event_time - lag(event_time) OVER (PARTITION BY subject_id ORDER BY event_time) AS pause
    FROM events
    WHERE subject_id = ANY ((SELECT ids)::text[])
      AND event_type <> 'impression'
      AND event_time > window_start(instant, '48 hours')
      AND event_time <= instant
  ),
  last AS (
    SELECT
      subject_id,
      coalesce(max(event_time) FILTER (WHERE pause > interval '30 minutes'), min(event_time)) AS start,
      max(event_time) + interval '30 minutes' AS until
    FROM done
    GROUP BY subject_id
  )
  SELECT subject_id, start, least(until, start + interval '48 hours')
  FROM last
  WHERE until > instant
$$;
