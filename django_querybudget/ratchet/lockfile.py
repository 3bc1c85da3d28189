"""``querybudget.toml``: read strictly, written deterministically, replaced in one step."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from django_querybudget.exceptions import LockFileError

from .lines import Key, Line, ShapeCount
from .loops import LoopCount

__all__ = [
    "LockFile",
    "parsed",
    "read",
    "rendered",
    "rendered_head",
    "rendered_line",
    "rendered_run",
    "replace_file",
    "sorted_keys",
    "write",
]

FORMAT = 2
"""2 knows ``rows`` and ``loops``; a file of format 1 is read as it is, and written as 2."""
KINDS = ("views", "tests")

_HEADER = """\
# What every view executes at most, recorded by django-querybudget from the test suite.
# Review it as you review code: a number that rises is a query that somebody pays for.
# Written by a machine: `pytest --querybudget=record`, or `manage.py querybudget record`.
"""
_MERGE_MARKER = re.compile(r"^(?:<{7}|\|{7}|={7}|>{7})(?= |$)", re.MULTILINE)
_SHAPE = re.compile(r"(\d+) x (.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class LockFile:
    """The recorded lines, and the run that they are of."""

    run: str = ""
    """How the tests were chosen; only the same run can say that a line is left over."""
    lines: Mapping[Key, Line] = field(default_factory=dict)
    """The lines."""

    @property
    def has_rows(self) -> bool:
        """Whether rows are recorded in it: then they are of every line that they are known for."""
        return any(line.rows is not None for line in self.lines.values())


def read(path: Path) -> LockFile:
    """Return the file's content; an empty one if there is no file.

    Raises :class:`~django_querybudget.exceptions.LockFileError`, which names the file, the line and
    what is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return LockFile()
    except UnicodeDecodeError as error:
        raise LockFileError(f"{path}: it is not UTF-8 ({error}). {_WAY_OUT}") from error
    except OSError as error:
        raise LockFileError(f"{path}: it cannot be read ({error}). {_WAY_OUT}") from error
    return parsed(str(path), text)


def parsed(name: str, text: str) -> LockFile:
    """Return the content of the file ``name`` whose text is ``text``. Raises ``LockFileError``."""
    return _Parser(name, text).parse()


def write(path: Path, lockfile: LockFile) -> None:
    """Replace the file; whoever is killed meanwhile leaves the old one. Raises ``OSError``."""
    replace_file(path, rendered(lockfile))


def replace_file(path: Path, text: str) -> None:
    """Write ``text`` in one step: the file is the old one or the new one. Raises ``OSError``."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's files are private; this one is to be committed and read.
        Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


_WAY_OUT = (
    "It was left as it is. Restore it from version control, or delete it and record it again."
)


def rendered(lockfile: LockFile) -> str:
    """Return the text of the file, the same for the same content."""
    lines = (rendered_line(key, lockfile.lines[key]) for key in sorted_keys(lockfile.lines))
    return "".join((rendered_head(rendered_run(lockfile.run)), *lines))


def rendered_head(run: str) -> str:
    """Return the text before the first line; ``run`` is that of :func:`rendered_run`."""
    return f"{_HEADER}format = {FORMAT}\n{run}"


def rendered_run(run: str) -> str:
    """Return the text of how the tests were chosen."""
    return f"run = {_string(run)}\n"


def rendered_line(key: Key, line: Line) -> str:
    """Return the text of one line, with the blank before it."""
    return "".join(_rendered_line(key, line))


def sorted_keys(keys: Iterable[Key]) -> list[Key]:
    """Return the keys in the order of the file."""
    return sorted(keys, key=lambda key: (KINDS.index(key.kind), key.name))


def _rendered_line(key: Key, line: Line) -> Iterator[str]:
    yield f"\n[{key.kind}.{_string(key.name)}]\n"
    for name in Line.NUMBERS:
        yield f"{name} = {getattr(line, name)}\n"
    if line.rows is not None:
        yield f"rows = {line.rows}\n"
    if line.shapes:
        shapes = sorted({(shape.sql, shape.count) for shape in line.shapes})
        written = (f"    {_string(f'{count} x {sql}')},\n" for sql, count in shapes)
        yield f"shapes = [\n{''.join(written)}]\n"
    if line.loops is not None:
        tables = (f"    {_inline_table(loop.as_data())},\n" for loop in line.loops)
        yield f"loops = [\n{''.join(tables)}]\n" if line.loops else "loops = []\n"


def _inline_table(data: Mapping[str, str | int]) -> str:
    values = (f"{name} = {_string(v) if isinstance(v, str) else v}" for name, v in data.items())
    return f"{{ {', '.join(values)} }}"


def _string(text: str) -> str:
    """Return a TOML basic string: JSON's escapes are TOML's, DEL has to be one too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


class _Parser:
    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    def parse(self) -> LockFile:
        self.check_text()
        try:
            data = tomllib.loads(self.text)
        # A number of too many digits is a ValueError, too; arrays in arrays recurse.
        except (ValueError, RecursionError) as error:
            raise LockFileError(f"{self.path}: it is not TOML: {error}. {_WAY_OUT}") from error
        version = data.pop("format", None)
        if not _is_number(version) or version < 1:
            self.fail("format", f"format is {version!r}; it is the number {FORMAT}")
        if version > FORMAT:
            raise LockFileError(
                f"{self.path}{self.at('format')}: format {version} was recorded by a newer "
                f"django-querybudget; this one reads format {FORMAT}. Upgrade it. "
                "It was left as it is."
            )
        run = data.pop("run", "")
        if not isinstance(run, str):
            self.fail("run", f"run is {run!r}; it is a string")
        lines: dict[Key, Line] = {}
        for kind, tables in data.items():
            if kind not in KINDS or not isinstance(tables, dict):
                self.fail(kind, f"{kind!r} is unknown; the tables are {' and '.join(KINDS)}")
            for name, table in tables.items():
                lines[Key(kind, name)] = self.line(kind, name, table)
        return LockFile(run=run, lines=lines)

    def check_text(self) -> None:
        """Name what editors and merges leave, which TOML's parser would only call invalid."""
        if self.text.startswith("\ufeff"):
            raise LockFileError(
                f"{self.path}, line 1: it begins with a byte order mark, which TOML has not. Save "
                "it as UTF-8 without one. It was left as it is."
            )
        if marker := _MERGE_MARKER.search(self.text):
            line = self.text.count("\n", 0, marker.start()) + 1
            raise LockFileError(
                f"{self.path}, line {line}: it has markers of a merge ({marker[0]!r}). Take one "
                "side whole (git checkout --ours or --theirs), then record it again. It was left "
                "as it is."
            )

    def line(self, kind: str, name: str, table: object) -> Line:
        if not isinstance(table, dict):
            self.fail(name, f"{name!r} is {table!r}; it is a table")
        known = (*Line.NUMBERS, "rows", "shapes", "loops")
        for key in table:
            if key not in known:
                self.fail(name, f"{key!r} is unknown; the keys are {', '.join(known)}", key)
        for key in (*Line.NUMBERS, *table.keys() & {"rows"}):
            if not _is_number(table.get(key)):
                found = f"is {table[key]!r}" if key in table else "is missing"
                self.fail(name, f"{key} of {name!r} {found}; it is a number, 0 or more", key)
        shapes = table.get("shapes", [])
        if not isinstance(shapes, list):
            self.fail(name, f"shapes of {name!r} is {shapes!r}; it is a list", "shapes")
        loops = table.get("loops")
        if not isinstance(loops, list | None):
            self.fail(name, f"loops of {name!r} is {loops!r}; it is a list", "loops")
        return Line(
            **{key: table[key] for key in Line.NUMBERS},
            rows=table.get("rows"),
            shapes=tuple(self.shape(name, shape) for shape in shapes),
            loops=None if loops is None else tuple(self.loop(name, loop) for loop in loops),
        )

    def shape(self, name: str, shape: object) -> ShapeCount:
        found = _SHAPE.fullmatch(shape) if isinstance(shape, str) else None
        if found is None:
            self.fail(name, f'the shape {shape!r} is not of the form "3 x SELECT …"', "shapes")
        return ShapeCount(found[2], int(found[1]))

    def loop(self, name: str, loop: object) -> LoopCount:
        known = ("queries", *LoopCount.TEXTS)
        if not isinstance(loop, dict):
            problem = f'the loop {loop!r} is not of the form {{ queries = 3, what = "…" }}'
            self.fail(name, problem, "loops")
        for key, value in loop.items():
            right = _is_number(value) if key == "queries" else isinstance(value, str)
            if key not in known or not right:
                problem = f"is {value!r}" if key in known else "is unknown"
                self.fail(
                    name,
                    f"{key} of a loop of {name!r} {problem}; it has the number queries and the "
                    f"texts {', '.join(LoopCount.TEXTS)}",
                    "loops",
                )
        if missing := [key for key in ("queries", "what") if key not in loop]:
            self.fail(name, f"{missing[0]} of a loop of {name!r} is missing", "loops")
        return LoopCount(**loop)

    def fail(self, name: str, problem: str, key: str = "") -> NoReturn:
        raise LockFileError(f"{self.path}{self.at(name, key)}: {problem}. {_WAY_OUT}")

    def at(self, name: str, key: str = "") -> str:
        """Return ``", line 7"``: the table's line, or that of the key in it."""
        lines = self.text.splitlines()
        wanted = (_string(name), name)
        start = next(
            (
                number
                for number, line in enumerate(lines)
                if not line.startswith("#") and any(text in line for text in wanted)
            ),
            None,
        )
        if start is None:
            return ""
        if key:
            for number, line in enumerate(lines[start + 1 :], start + 1):
                if line.startswith("["):
                    break
                if line.strip().startswith(key):
                    return f", line {number + 1}"
        return f", line {start + 1}"


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
