"""How a process runs (settings, logs, errors, RPC plumbing, health, metrics, shutdown); knows no word of the domain."""

import os

# gRPC's newer event engine passes each message through one more thread: a read over one connection takes 13 % longer
# with it, 64 connections get 4 % less (docs/performance.md). Read when the first channel or server is made.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener,-event_engine_callback_cq")
