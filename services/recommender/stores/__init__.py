"""The recommender's PostgreSQL behind its ports; the only package that speaks SQL, and no rule is decided here."""
