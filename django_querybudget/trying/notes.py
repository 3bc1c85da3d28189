"""What a process of the run takes note of, in a file of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Lock
from typing import Any

from .launching import FOLDER_VARIABLE

__all__ = ["is_full", "write"]

MOST_BYTES = 8_000_000
"""So much a process writes; what comes later is missing, and the page says so."""

_written: dict[int, int] = {}
_lock = Lock()


def is_full() -> bool:
    """Whether this process has written as much as it may."""
    return _written.get(os.getpid(), 0) > MOST_BYTES


def write(kind: str, data: Any) -> None:
    """Append a line, by one write, so that no process cuts another's."""
    text = json.dumps([kind, data]) + "\n"
    with _lock:
        if is_full():
            return
        process = os.getpid()  # A fork writes to a file of its own.
        _written[process] = _written.get(process, 0) + len(text)
        if is_full():
            text = json.dumps(["cut", True]) + "\n"
        path = Path(os.environ[FOLDER_VARIABLE], f"{process}.jsonl")
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            return  # The run is over, and its folder gone: a process that was left behind.
