"""The ports on real servers: PostgreSQL for the event log, Redis for what is served online; knows no RPC."""
