-- Products viewed in the last 30 days, each once, newest first, at most 50.
SELECT id, value, valid_until FROM recent_products($1, $2, 'detail-page-view', '720 hours', 50)
