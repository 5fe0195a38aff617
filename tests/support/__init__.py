"""Promises what tests share: real servers and waiting on conditions; knows no service."""
