"""Writing proved patches into the project: :func:`apply`. Only where git says a file is clean."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["apply", "refusals"]


def refusals(root: Path, before: Mapping[str, bytes]) -> dict[str, str]:
    """Return the files that may not be written, and why.

    ``before`` is what each file held when its patch was proved.
    """
    found: dict[str, str] = {}
    for path, data in before.items():
        file = root / path
        status = _git_status(root, path)
        if status is None:
            found[path] = "git does not know it: there is nothing to go back to"
        elif status:
            found[path] = "it has changes that are not committed"
        elif file.is_symlink():
            found[path] = "it is a symbolic link"
        elif not file.is_file() or file.read_bytes() != data:
            found[path] = "it was changed while the patches were proved"
    return found


def apply(root: Path, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    """Write all files, or none: what was written is put back if one cannot be."""
    done: list[str] = []
    try:
        for path, data in after.items():
            done.append(path)
            _write(root / path, data)
    except BaseException:
        for path in done:
            _write(root / path, before[path])
        raise


def _write(file: Path, data: bytes) -> None:
    """Put ``data`` into a file at once: nobody sees a half of it."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as new:
            new.write(data)
        Path(name).chmod(file.stat().st_mode & 0o7777)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _git_status(root: Path, path: str) -> str | None:
    """Return what git says has changed of a file; None if it does not know the file."""
    try:
        known = subprocess.run(
            ["git", "ls-files", "--error-unmatch", "--", path],  # noqa: S607
            cwd=root,
            capture_output=True,
            check=False,
        )
        if known.returncode:
            return None
        done = subprocess.run(
            ["git", "status", "--porcelain", "--", path],  # noqa: S607
            cwd=root,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="replace").strip()
