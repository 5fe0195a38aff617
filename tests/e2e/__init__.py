"""Promises that a stack started as the README says does what the README says; talks to it through its doors only."""
