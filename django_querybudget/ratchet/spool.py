"""What the processes of one run write into a folder, line by line, and how it is read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["read_lines"]


def read_lines(path: Path) -> Iterator[Any]:
    """Yield what each line of a file of JSON lines stands for, but for one that is cut off."""
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            continue  # Its process was killed while it wrote.
