"""The feature service: keeps the event log and serves exact features from it.

Knows of the catalogue only what it is streamed, and nothing of recommending.
"""
