"""The proved patches as one unified diff: :func:`unified`. ``git apply`` takes it as it is."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

__all__ = ["unified"]

_NO_END = b"\\ No newline at end of file\n"


def unified(
    before: Callable[[str], bytes],
    after: Mapping[str, bytes],
    proofs: Callable[[str, range], str],
) -> bytes:
    """Return the diff of the files ``after``. Each hunk's heading has what ``proofs`` says of it.

    ``proofs`` is given a file's path and the hunk's lines in the old file. Bytes, for a file may
    have any encoding.
    """
    lines: list[bytes] = []
    for path, data in sorted(after.items()):
        old, new = _lines(before(path)), _lines(data)
        name = path.encode()
        for line in difflib.diff_bytes(difflib.unified_diff, old, new, b"a/" + name, b"b/" + name):
            if line.startswith(b"@@"):
                proof = proofs(path, _lines_of(line))
                lines.append(line.rstrip(b"\n") + f" {proof}\n".encode())
            else:
                lines.append(line)
                if not line.endswith(b"\n"):
                    lines += [b"\n", _NO_END]
    return b"".join(lines)


def _lines_of(heading: bytes) -> range:
    """Return the lines of the old file that ``@@ -12,7 +12,9 @@`` says a hunk has."""
    first, _, count = heading.split()[1].removeprefix(b"-").partition(b",")
    return range(int(first), int(first) + int(count or 1))


def _lines(data: bytes) -> list[bytes]:
    """Split at ``\\n`` alone, as git does."""
    parts = data.split(b"\n")
    lines = [each + b"\n" for each in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines
