-- Of features that are relative to the greatest of all: the magnitude of each entity as a level, which stands still while
-- the magnitude halves: log2(magnitude at T) + T / half-life. So the greatest level is the greatest magnitude at any T.
-- Room in the pages: a level that is computed anew and found the same is changed in its page, past both indexes.
CREATE TABLE entity_levels (
  feature bigint NOT NULL,
  -- Of the instant that the level was computed for (ms since 1970): of two the later one stays.
  computed_ms bigint NOT NULL,
  -- Null: no evidence any more; kept for a while, against computations that began before.
  level float8,
  id text COLLATE "C" NOT NULL,
  PRIMARY KEY (feature, id)
) WITH (fillfactor = 80);
CREATE INDEX entity_levels_by_level ON entity_levels (feature, level DESC) WHERE level IS NOT NULL;

-- Features, by number, of which every entity with evidence has its level.
CREATE TABLE complete_levels (feature bigint PRIMARY KEY);
