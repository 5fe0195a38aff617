-- Products of the latest orders of the last 365 days, each once, newest first, at most 50.
SELECT id, value, valid_until FROM recent_products($1, $2, 'purchase-complete', '8760 hours', 50)
