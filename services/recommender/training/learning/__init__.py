"""Makes a model version from a log in arrays, in a process of its own; knows no store, no network, no clock."""
