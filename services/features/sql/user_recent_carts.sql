-- Products put into the cart in the last 30 days, each once, newest first, at most 20.
SELECT id, value, valid_until FROM recent_products($1, $2, 'add-to-cart', '720 hours', 20)
