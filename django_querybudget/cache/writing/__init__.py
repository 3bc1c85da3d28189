"""Seeing what is written, and what becomes of the entries that depend on it."""
