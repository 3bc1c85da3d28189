"""What the last ``fix`` proved of each finding, in a file that ``explain`` reads.

It stands beside that of the last run (:mod:`.last_run`), and is written only where there is one:
whoever never recorded a run has nothing to explain, and ``fix`` leaves nothing behind.

A patch is good for the code that it was proved with: it is told only as long as each file that it
changes, and that of its loop, holds what it held then.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import last_run
from .last_run import LastRunError, read_data, rows_within, write_data

__all__ = ["Attempt", "LastFix", "digest_of", "key_of", "path_beside", "read", "write"]

FORMAT = 1
NAME = "last-fix.json"
MOST_BYTES = 4 * 1024 * 1024
"""What the file holds at most; findings that find no place in it are left out."""

OUTCOMES = ("proved", "uncompared", "withdrawn", "not tried", "not written")

_WAY_OUT = "Delete it, and run fix again: manage.py querybudget fix -- test."


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of one finding."""

    outcome: str
    """``"proved"``, ``"uncompared"`` (no answer could be), ``"withdrawn"``, ``"not tried"`` (the
    time was over) or ``"not written"``."""
    reason: str = ""
    """Why it is not proved."""
    patch: str = ""
    """The patch by itself, as a unified diff, if it is proved; empty if that is not UTF-8."""
    proof: str = ""
    """What it was proved by."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The files that it depends on, from the project's root, each with its digest then."""


@dataclass(frozen=True, kw_only=True)
class LastFix:
    """A run of ``fix``."""

    at: str
    """When it ended: UTC, ISO 8601."""
    root: Path
    """The project's root: where the paths of patches begin."""
    attempts: Mapping[str, Attempt]
    """By :func:`key_of` of the findings."""

    def changed(self, attempt: Attempt) -> list[str]:
        """Return the files of an attempt that are no longer what they were."""
        return [
            path for path, digest in attempt.files.items() if _digest_at(self.root / path) != digest
        ]


def key_of(identity: str, place: str) -> str:
    """Return the name of a finding: ``identity`` is what does not depend on lines, then its line.

    Of several loops of one function only the line tells which is which.
    """
    return f"{identity}:{place.rpartition(':')[2]}"


def digest_of(data: bytes) -> str:
    """Return the digest of a file that holds ``data``."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def path_beside(lockfile: Path) -> Path:
    """Return where the last fix of what is held to ``lockfile`` stands."""
    return last_run.path_beside(lockfile).with_name(NAME)


def write(path: Path, *, at: str, root: Path, attempts: Mapping[str, Attempt]) -> None:
    """Replace the file, in one step. Raises ``OSError``."""
    rows = rows_within(MOST_BYTES, {name: asdict(each) for name, each in attempts.items()})
    head = {"format": FORMAT, "at": at, "root": os.path.relpath(root, path.parent)}
    write_data(path, head, "attempts", rows)


def read(path: Path) -> LastFix | None:
    """Return the last fix; None if there was none. Raises :class:`LastRunError`."""
    data = read_data(path, wanted=FORMAT, most=MOST_BYTES, way_out=_WAY_OUT)
    if data is None:
        return None
    try:
        return LastFix(
            at=_text(data["at"]),
            root=path.parent / _text(data["root"]),
            attempts={name: _attempt(each) for name, each in data["attempts"].items()},
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise LastRunError(
            f"{path}: it is not what fix writes ({type(error).__name__}: {error}). {_WAY_OUT}"
        ) from error


def _attempt(data: Mapping[str, Any]) -> Attempt:
    if data["outcome"] not in OUTCOMES:
        raise TypeError(f"{data['outcome']!r} is no outcome")
    texts = {name: _text(data[name]) for name in ("outcome", "reason", "patch", "proof")}
    files = {path: _text(digest) for path, digest in data["files"].items()}
    return Attempt(files=files, **texts)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _digest_at(path: Path) -> str | None:
    try:
        return digest_of(path.read_bytes())
    except OSError:
        return None
