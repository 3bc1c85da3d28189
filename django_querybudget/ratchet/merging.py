"""A merge of three versions of ``querybudget.toml`` by its lines: a driver for git.

Text knows of lines next to each other: two branches that add a view at the same place are a
conflict there. Here a view is the unit, by its key; only one that both changed is a conflict.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TypeVar

from django_querybudget.exceptions import LockFileError

from .lines import Line
from .lockfile import (
    LockFile,
    parsed,
    rendered_head,
    rendered_line,
    rendered_run,
    sorted_keys,
)

__all__ = ["merge_files", "merged_text"]

_CRLF = "\r\n"
T = TypeVar("T")


def merge_files(base: Path, ours: Path, theirs: Path) -> tuple[bool, str]:
    """Merge into ``ours``; return whether there are conflicts in it, and what went wrong.

    As git asks its drivers to (``%O %A %B``). An empty ``base`` is none. What cannot be read is
    merged as text, as git would have without a driver.
    """
    try:
        texts = [path.read_bytes().decode() for path in (base, ours, theirs)]
        files = [
            LockFile() if path is base and not text.strip() else parsed(str(path), _unix(text))
            for path, text in zip((base, ours, theirs), texts, strict=True)
        ]
    except (LockFileError, UnicodeDecodeError) as error:
        conflicts, problem = _merge_text(base, ours, theirs)
        return conflicts, problem or f"Merged as text, for a version cannot be read: {error}"
    except OSError as error:
        return True, f"Not merged: {error}"
    text, conflicts = merged_text(*files)
    if _CRLF in texts[1]:
        text = text.replace("\n", _CRLF)
    try:
        ours.write_bytes(text.encode())
    except OSError as error:
        return True, f"Not merged: {error}"
    return conflicts, ""


def merged_text(base: LockFile, ours: LockFile, theirs: LockFile) -> tuple[str, bool]:
    """Return the text of the merge, and whether there are conflicts in it."""
    conflicts = False
    run = _chosen(base.run, ours.run, theirs.run)
    if run is None:
        conflicts = True
        head = _conflict(rendered_run(ours.run), rendered_run(theirs.run))
    else:
        head = rendered_run(run[0])
    texts = [rendered_head(head)]
    for key in sorted_keys({*base.lines, *ours.lines, *theirs.lines}):
        sides = [file.lines.get(key) for file in (base, ours, theirs)]
        if (chosen := _chosen(*sides)) is None:
            conflicts = True
            written = ["" if line is None else rendered_line(key, line) for line in sides]
            texts.append(_conflict(*written[1:]))
        elif chosen[0] is not None:
            texts.append(rendered_line(key, chosen[0]))
    return "".join(texts), conflicts


def _chosen(base: T, ours: T, theirs: T) -> tuple[T] | None:
    """Return the side that changed; None if both did, differently.

    That the loops of a view stand some lines further down is no change.
    """
    old, left, right = (
        side.without_line_numbers() if isinstance(side, Line) else side
        for side in (base, ours, theirs)
    )
    if right in (left, old):
        return (ours,)
    return (theirs,) if left == old else None


def _conflict(ours: str, theirs: str) -> str:
    return f"<<<<<<< ours\n{ours}=======\n{theirs}>>>>>>> theirs\n"


def _merge_text(base: Path, ours: Path, theirs: Path) -> tuple[bool, str]:
    labels = [word for name in ("ours", "base", "theirs") for word in ("-L", name)]
    command = ["git", "merge-file", *labels, "--", str(ours), str(base), str(theirs)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return True, f"Not merged: {error}"
    if done.returncode > 127:  # else the number of conflicts
        return True, f"Not merged: {done.stderr.decode(errors='replace').strip()}"
    return done.returncode != 0, ""


def _unix(text: str) -> str:
    return text.replace(_CRLF, "\n")
