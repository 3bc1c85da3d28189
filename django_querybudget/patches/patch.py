"""A suggested line as edits of files: :class:`Patch`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

from .edits import Edit

__all__ = ["Found", "NotWritten", "Patch"]


@dataclass(frozen=True)
class Found:
    """A finding as a report of patches names it."""

    cause: str
    relation: str
    origin: str
    """The line that runs the queries, and its function."""
    key: str = ""
    """The finding's own, by :func:`~django_querybudget.ratchet.last_fix.key_of`; none of a load."""
    file: str = ""
    """The file of that line, from the project's root; empty where it is no file of the project."""

    @property
    def text(self) -> str:
        """``"Job.client: a relation is loaded row by row, at jobs/views.py:31 in all_jobs"``."""
        what = f"{self.relation}: {self.cause}" if self.relation else self.cause
        return f"{what}, at {self.origin}"


@dataclass(frozen=True)
class Patch:
    """What one suggested line changes, with what is read elsewhere in its stead: one whole."""

    edits: tuple[Edit, ...]
    found: tuple[Found, ...]

    @cached_property
    def key(self) -> str:
        """A name that is the same in every run, as long as the files are."""
        data = json.dumps([edit.as_data() for edit in self.edits])
        return hashlib.sha256(data.encode()).hexdigest()[:12]

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(edit.path for edit in self.edits))

    @property
    def texts(self) -> tuple[str, ...]:
        """What a report says of its findings, each once."""
        return tuple(dict.fromkeys(each.text for each in self.found))

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data, for another process."""
        return {
            "key": self.key,
            "edits": [edit.as_data() for edit in self.edits],
            "found": [list(astuple(each)) for each in self.found],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Patch:
        """Undo :meth:`as_data`."""
        return cls(
            tuple(map(Edit.from_data, data["edits"])), tuple(Found(*each) for each in data["found"])
        )


@dataclass(frozen=True)
class NotWritten:
    """A finding that no patch was made of, and why."""

    found: Found
    reason: str
    code: str = ""
    """What was suggested, for a person to write."""
