-- Guests who signed in: what a guest did up to `until`, and after the row's predecessor, is the user's, also what comes late.
CREATE TABLE merged_visitors (
  until timestamptz NOT NULL,
  -- The last transaction that moved something: whoever follows the log marks both again.
  ingest_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  -- Not all that was there has been moved.
  pending boolean NOT NULL DEFAULT true,
  visitor_id text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (visitor_id, until)
);
CREATE INDEX merged_visitors_by_user ON merged_visitors (user_id);
CREATE INDEX merged_visitors_by_transaction ON merged_visitors (ingest_xid);
