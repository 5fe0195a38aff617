"""Promises honest numbers of a running windowshop over REST: every answer is checked, waiting counts as latency."""
