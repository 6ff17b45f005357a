"""Decoded images: what a column of them is, and what can be done with it."""
