"""Judges orders of products by what shoppers took afterwards; knows arrays, no store, no network, no clock."""
