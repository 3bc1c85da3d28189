"""The whole of it, for whoever starts it: :func:`fix` proves, tells, and writes if it is to."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from django_querybudget.ratchet import last_fix, last_run

from .bytecode import remove_own
from .copying import project_root
from .proving import Proof
from .rehearsals import Suite
from .report import as_data, as_text, attempts_of, diff_of
from .unwritable import CannotProve
from .working_tree import apply, refusals

__all__ = ["Wanted", "fix"]

Write = Callable[[str], object]

REFUSED, UNPROVABLE, INTERRUPTED = 1, 2, 130
"""Exit statuses: ``--apply`` did not write all; nothing can be proved; Ctrl-C."""


class Wanted(NamedTuple):
    """What a person asks for."""

    apply: bool = False
    """Whether what is proved is written into the project."""
    uncompared: bool = False
    """Whether that is also what saves and passes the tests, and no answer of which was compared."""
    json: bool = False
    diff: str | None = None
    """A file for the diff."""
    seconds: float | None = None
    """The time limit."""
    quiet: bool = False
    file: Path = Path("querybudget.toml")
    """The file of the recorded lines: beside it is left what ``explain`` tells, see :func:`fix`."""


def fix(suite: Suite, wanted: Wanted, *, out: Write, err: Write) -> int:
    """Prove patches by ``suite``, from the current folder, and return the exit status.

    ``out`` and ``err`` are given lines. Where a test run was recorded, what came of each of its
    findings is left beside it.
    """
    root = project_root(Path.cwd())
    if not wanted.apply:
        remove_own(root)

    def tell(line: str) -> None:
        if not wanted.json and not wanted.quiet:
            out(line)

    try:
        with (
            _ended_by_sigterm(),
            Proof(
                root, suite, seconds=wanted.seconds, uncompared=wanted.uncompared, tell=tell
            ) as proof,
        ):
            proof.run()
            _print(proof, wanted, out)
            _leave(proof, root, wanted.file, err)
            refused = _apply(root, proof, err) if wanted.apply else False
    except CannotProve as error:
        err(str(error))
        return UNPROVABLE
    except KeyboardInterrupt:
        err("Stopped. Nothing of the project was changed.")
        return INTERRUPTED
    if refused:
        err("Not all that is proved was written.")
    return REFUSED if refused else 0


def _print(proof: Proof, wanted: Wanted, out: Write) -> None:
    diff = diff_of(proof)
    if wanted.diff:
        Path(wanted.diff).write_bytes(diff)
    if wanted.json:
        out(json.dumps(as_data(proof), indent=2))
        return
    out(f"\n{as_text(proof)}")
    if diff:
        out(f"\n{diff.decode('utf-8', 'replace')}".removesuffix("\n"))
        if not wanted.apply:
            written = f"git apply {wanted.diff}" if wanted.diff else "--apply"
            out(f"\nNothing of the project was changed. To write it: {written}")


def _leave(proof: Proof, root: Path, file: Path, err: Write) -> None:
    """Leave what came of each finding to ``explain``, which tells findings of the last run."""
    if not last_run.path_beside(file).exists():
        return
    path = last_fix.path_beside(file)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        last_fix.write(path, at=at, root=root, attempts=attempts_of(proof))
    except OSError as error:
        err(f"{path} cannot be written, for explain: {error}")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does: the copy is removed then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _apply(root: Path, proof: Proof, err: Write) -> bool:
    """Write the patches all of whose files may be written; return whether some may not.

    A patch is one whole: with one file of it refused, the others get nothing of it either.
    """
    paths = {path for each in proof.proved for path in each.patch.paths}
    refused = refusals(root, {path: proof.before(path) for path in paths})
    kept = [each for each in proof.proved if not set(each.patch.paths) & refused.keys()]
    after = proof.files(kept)
    apply(root, {path: proof.before(path) for path in after}, after)
    for path in after:
        err(f"Wrote {path}.")
    for path, why in refused.items():
        err(f"Not written: {path}: {why}.")
    return bool(refused)
