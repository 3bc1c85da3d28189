"""A version of ``querybudget.toml``: a file, or what a revision of git has: :func:`version_of`."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from django_querybudget.exceptions import LockFileError

from . import lockfile
from .git import git
from .lockfile import LockFile

__all__ = ["Version", "path_in_repository", "version_of", "version_on_disk"]


@dataclass(frozen=True, kw_only=True)
class Version:
    """The content of one version."""

    name: str
    """As a person names it: ``"querybudget.toml"``, ``"main (0a1b2c3d4e)"``."""
    file: LockFile
    """What it holds."""
    missing: bool = False
    """Whether the revision has no such file; what it holds is empty then."""


def version_of(given: str, path: Path) -> Version:
    """Return the file ``given``; where there is none, what the revision ``given`` has at ``path``.

    Raises :class:`~django_querybudget.exceptions.LockFileError` for what is neither, and for a
    content that cannot be read.
    """
    if _is_file(given):
        return version_on_disk(Path(given))
    commit = git("rev-parse", "--verify", "--end-of-options", f"{given}^{{commit}}")
    if commit.returncode:
        raise LockFileError(
            f"{given!r} is no file, and git knows no such revision ({_why(commit)}). Name a "
            "querybudget.toml or a revision; a checkout without its history has to fetch it first."
        )
    sha = commit.stdout.decode().strip()
    name = sha[:10] if sha.startswith(given) else f"{given} ({sha[:10]})"
    inside = f"{sha}:./{Path(os.path.relpath(path)).as_posix()}"
    if git("rev-parse", "--verify", "--end-of-options", inside).returncode:
        return Version(name=name, file=LockFile(), missing=True)
    blob = git("cat-file", "blob", inside)
    if blob.returncode:
        raise LockFileError(f"{path} of {name} cannot be read ({_why(blob)}).")
    try:
        text = blob.stdout.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise LockFileError(f"{path} of {name} is not UTF-8 ({error}).") from error
    return Version(name=name, file=lockfile.parsed(f"{path} of {name}", text))


def version_on_disk(path: Path) -> Version:
    """Return the file at ``path``. Raises ``LockFileError``, also where there is none."""
    if not path.exists():
        raise LockFileError(
            f"{path}: there is no such file. Record it: pytest --querybudget=record, or manage.py "
            "querybudget record -- test."
        )
    # Of a file elsewhere (what a run measured, say), the way there tells nobody anything.
    outside = not path.resolve().is_relative_to(Path.cwd().resolve())
    return Version(name=path.name if outside else str(path), file=lockfile.read(path))


def path_in_repository(path: Path) -> str:
    """Return ``path`` from the root of the repository; as it is outside of one."""
    prefix = git("rev-parse", "--show-prefix")
    if prefix.returncode or path.is_absolute():
        return str(path)
    root = prefix.stdout.decode(errors="replace").removesuffix("\n")
    return os.path.normpath(Path(root, path)).replace(os.sep, "/")


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # Too long for a path, or with a zero byte.
        return False


def _why(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"git ended with {done.returncode}"
