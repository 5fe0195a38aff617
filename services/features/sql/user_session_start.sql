-- When the session under way began.
SELECT id, start AS value, valid_until FROM sessions($1, $2)
