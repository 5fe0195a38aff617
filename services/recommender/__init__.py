"""Keeps the catalogue and finds, ranks and explains products; of events and features it knows the contract only."""
