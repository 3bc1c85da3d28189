"""The git repository and the host project of these tests."""

from tests.ratchet.project import project
from tests.ratchet.repository import repository

__all__ = ["project", "repository"]
