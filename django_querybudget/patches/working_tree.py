"""Writing proved patches into the project: :func:`apply`. Only where git says a file is clean."""

from __future__ import annotations

import os
import shlex
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from django_querybudget.ratchet.git import git

from .unwritable import CannotProve

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
    """Write all files, or none: what was written is put back if one cannot be.

    Ctrl-C ends the writing, and a second one nothing more. Raises :class:`~.unwritable.CannotProve`
    where a file can neither be written nor put back.
    """
    done: list[str] = []
    with _ended_once():
        try:
            for path, data in after.items():
                done.append(path)
                _write(root / path, data)
        except BaseException as error:
            left = [path for path in done if not _put_back(root / path, before[path])]
            if left:
                raise CannotProve(
                    f"Stopped, and {', '.join(left)} could not be put back: "
                    f"git checkout -- {shlex.join(left)}"
                ) from error
            raise


def _put_back(file: Path, data: bytes) -> bool:
    try:
        _write(file, data)
    except OSError:
        return file.is_file() and file.read_bytes() == data
    return True


@contextmanager
def _ended_once() -> Iterator[None]:
    """Let the first Ctrl-C, or SIGTERM, end the block, and keep the others from what follows."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if (handler := signal.getsignal(number)) is not None  # Not Python's.
    }
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        if ended:
            return
        ended = True
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        elif handler is not signal.SIG_IGN:
            raise SystemExit(128 + number)

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    if git("ls-files", "--error-unmatch", "--", path, folder=root).returncode:
        return None
    done = git("status", "--porcelain", "--", path, folder=root)
    if done.returncode:
        return None
    return done.stdout.decode(errors="replace").strip()
