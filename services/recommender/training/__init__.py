"""Turns the event log into model versions and scores, off the request path; knows ports, no driver, no protobuf."""
