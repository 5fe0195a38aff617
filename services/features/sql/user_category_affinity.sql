-- How the user's interest is shared out over top-level categories; products without one have no say.
SELECT id, keys, share, valid_until FROM interest_shares($1, $2, false)
