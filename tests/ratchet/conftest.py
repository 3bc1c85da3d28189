"""The git repository of these tests."""

from tests.ratchet.repository import repository

__all__ = ["repository"]
