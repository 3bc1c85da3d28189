"""The host project of these tests."""

from tests.ratchet.project import project

__all__ = ["project"]
