"""Why a suggested line cannot be written by a program: :class:`Unwritable`."""

from __future__ import annotations

__all__ = ["Unwritable"]


class Unwritable(Exception):  # noqa: N818 - no error: a suggestion that is left to a person
    """A suggested line is not written; the text says why, and completes "not written: …"."""
