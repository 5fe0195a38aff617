"""How a process runs (settings, logs, errors, RPC plumbing, health, metrics, shutdown); knows no word of the domain."""
