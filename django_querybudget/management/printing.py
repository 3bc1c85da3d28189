"""One JSON document on stdout, whatever else the project prints: :func:`only_ours`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from django.core.management.base import BaseCommand, OutputWrapper

__all__ = ["only_ours"]


@contextmanager
def only_ours(command: BaseCommand) -> Iterator[None]:
    """Send to stderr what is printed meanwhile, and what waits in stdout's buffer; not ``command``.

    Settings that print did so before any command was there. Into a pipe or a file, which are
    written by the block, that has not left the process yet.
    """
    stdout, ours = sys.stdout, command.stdout
    own = getattr(ours, "_out", None) is stdout is sys.__stdout__
    if stdout is None or not own or _descriptor(stdout) != 1:
        yield  # Who calls the command from Python has given it a stream of its own.
        return
    kept = os.dup(1)
    os.dup2(2, 1)
    stdout.flush()
    with os.fdopen(kept, "w", encoding=stdout.encoding, errors=stdout.errors) as out:
        command.stdout = OutputWrapper(cast("TextIO", out))
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            out.flush()
            sys.stdout, command.stdout = stdout, ours
            stdout.flush()
            os.dup2(kept, 1)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
