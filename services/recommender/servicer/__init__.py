"""The gRPC face of the recommender: messages in, messages out; no SQL and no ranking here."""
