"""Promises other feature servers, as their makers publish them, with given values; knows nothing of windowshop."""
