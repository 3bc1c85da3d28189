"""The developer's own git, asked: :func:`git`."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["MOST_SECONDS", "git"]

MOST_SECONDS = 60
"""So long it may take for one answer."""


def git(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Return what git answers in ``folder``. Where it cannot be asked, it is one that failed."""
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=MOST_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, b"", str(error).encode())
