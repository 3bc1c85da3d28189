"""The cases' frame: what one expects, and how a suggested line is put to the test.

A case is a function of a :class:`Run`. It passes every queryset that could be at fault through
``run(...)``: nothing happens to it in the first run, and in the second the text that was suggested
for its model is evaluated on it. ``run.fixed`` is True then, for what the suggestion changes at the
line itself. Lines that must be blamed end in ``# N+1``, the line where the suggested one is to be
written in ``# root`` if it is another, ``# N+1, root`` if it is one of several. Such a line of
another function ends in a name of its own, ``# N+1: name``, which the case gives as ``blamed``.

No case is unproved. Each marks the lines that must be blamed; what a suggested line saves is
measured; and where no line is right, the case says which words must stand instead.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from django.contrib.contenttypes.prefetch import GenericPrefetch
from django.db import models
from django.db.models.functions import Coalesce

from django_querybudget.nplusone import Cause, Finding, Fix

from . import models as library

CASES: dict[str, Case] = {}

_METHODS = r"\.(?=(?:select_related|prefetch_related|annotate|only|defer|in_bulk)\()"
RUN_NAMES = {
    "Coalesce": Coalesce,
    "GenericPrefetch": GenericPrefetch,
    **{name: getattr(models, name) for name in dir(models) if name[0].isupper()},
    **{name: getattr(library, name) for name in dir(library) if name[0].isupper()},
}


# What is said where no line is right.
NO_QUERYSET = (
    "No queryset is known that could load it: use select_related() or prefetch_related() where "
    "the rows come from; read a tree level by level."
)
ROWS_AT_ONCE = "Load the rows with one query before the loop: filter(…__in=…)."
IN_PYTHON = "Sort or filter the prefetched rows in Python, or prefetch as needed."
ONE_STATEMENT = "Write all rows with one statement, if no save() or receiver is left out by it."
AT_ONCE = "Call it once, before the loop, with all of its rows."
ONCE = "Ask once, before the loop, for what its runs ask one by one."
RANGES = "Ask once for all the ranges: name each row's range by an annotation, and group by it."
NOT_THE_LINE = "A form, a validator or a package asks it, not the line itself."


def all_values_of(names: str) -> str:
    return f"Ask once, before the loop, for all the values of {names}: IN (…)."


@dataclass(frozen=True)
class Expected:
    """One finding."""

    relation: str
    cause: Cause
    fix: str | None = None
    use: str | None = None
    operation: str | None = None
    replaces: str | None = None
    hint: str | None = None
    """The words that stand where no line does."""
    note: str | None = None
    """What is said below the line."""
    alone: bool = False
    """Whether the fix stands for one statement of a loop that does more."""
    instead_of: tuple[str, ...] = ()
    """The lookups whose place the fix's take."""


@dataclass
class Run:
    """One run of a case."""

    fixes: tuple[Fix, ...] = ()

    @property
    def fixed(self) -> bool:
        return self._fixed

    _fixed: bool = field(default=False)

    def __call__(self, queryset: Any, **names: Any) -> Any:
        """Return the queryset with what was suggested for its model.

        ``names`` are those of the case's own that the suggestion may say.
        """
        for fix in self.fixes:
            start, *tail = re.split(_METHODS, fix.code, maxsplit=1)
            model = start.partition(".")[0]
            if start.endswith(".through.objects"):
                model = eval(start, dict(RUN_NAMES)).model.__name__  # noqa: S307 - the line under test is run
            if not tail or (model != queryset.model.__name__ and start.endswith(".objects")):
                continue
            if fix.replaces:
                present = queryset._prefetch_related_lookups
                queryset = queryset.prefetch_related(None).prefetch_related(
                    *(each for each in present if f'"{each}"' not in fix.replaces)
                )
            queryset = eval(f"queryset.{tail[0]}", {"queryset": queryset, **RUN_NAMES, **names})  # noqa: S307 - as above
        return queryset

    def write(self, **names: Any) -> None:
        """Execute the suggested statements, with ``names`` for the blanks that they have."""
        exec(self._own.code, {**RUN_NAMES, **names})  # noqa: S102  # the line under test is run

    async def awrite(self, **names: Any) -> dict[str, Any]:
        """Execute the suggested statements as a coroutine does; returns what they assigned."""
        code = compile(self._own.code, "<fix>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        after: dict[str, Any] = {**RUN_NAMES, **names}
        await eval(code, after)  # noqa: S307  # as above
        return after

    def ask(self, **names: Any) -> Any:
        """Return what the suggested expression comes to, with ``names`` for its blanks."""
        code = re.sub(r"<\w+ queryset>", "queryset", self._own.code)
        return eval(code, {**RUN_NAMES, **names})  # noqa: S307  # as above

    async def aask(self, **names: Any) -> Any:
        """Return the same in a coroutine."""
        code = compile(self._own.code, "<fix>", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        return await eval(code, {**RUN_NAMES, **names})  # noqa: S307  # as above

    @property
    def _own(self) -> Fix:
        (fix,) = self.fixes
        return fix


@cache
def _named_lines() -> dict[str, set[tuple[str, int]]]:
    """Return the lines of the corpus that end in a name: files and numbers, by the name."""
    found: dict[str, set[tuple[str, int]]] = {}
    for path in Path(__file__).parent.rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if match := _NAMED.search(line):
                found.setdefault(match[1], set()).add((str(path), number))
    return found


_NAMED = re.compile(r"# ((?:N\+1|root): \w+)$")
_MARKS = re.compile(r"# (N\+1|root|N\+1, root)$")


@dataclass(frozen=True)
class Case:
    """A function and what must be found in it."""

    name: str
    function: Callable[[Run], Any]
    expected: tuple[Expected, ...]
    after: int | None
    """The number of queries with the suggested lines; None where the line has a blank to fill."""
    blamed: str = ""
    """The name of the lines that must be blamed in other functions: ``N+1: name``."""
    rooted: str = ""
    """The name of the line to change if it is another function's: ``root: name``."""
    allow: tuple[str, ...] = ()
    template: tuple[str, ...] = ()
    """The template nodes, or the serializer's fields, that must be named."""

    @property
    def filename(self) -> str:
        return self.function.__code__.co_filename

    @property
    def to_blame(self) -> set[tuple[str, int]]:
        """The lines that must be blamed: their files and numbers."""
        return self._lines("N+1") | _named_lines().get(self.blamed, set())

    @property
    def to_change(self) -> set[tuple[str, int]]:
        """Where the suggested lines are to be written: where the loop is, unless it is marked."""
        found = self._lines("root") | _named_lines().get(self.rooted, set())
        return found or self.to_blame

    def _lines(self, marker: str) -> set[tuple[str, int]]:
        source, start = inspect.getsourcelines(self.function)
        return {
            (self.filename, start + number)
            for number, line in enumerate(source)
            if (found := _MARKS.search(line.rstrip())) and marker in found[1].split(", ")
        }


def case(
    *expected: Expected,
    after: int | None = None,
    blamed: str = "",
    rooted: str = "",
    allow: Iterable[str] = (),
    template: str | tuple[str, ...] = (),
) -> Callable[[Callable[[Run], Any]], Callable[[Run], Any]]:
    """Register a function as a case; without ``expected`` nothing must be found."""

    def register(function: Callable[[Run], Any]) -> Callable[[Run], Any]:
        name = function.__name__
        assert name not in CASES, name
        templates = (template,) if isinstance(template, str) else template
        CASES[name] = Case(name, function, expected, after, blamed, rooted, tuple(allow), templates)
        return function

    return register


def relation(name: str, fix: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.RELATION, fix, **more)


def deferred(name: str, fix: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.DEFERRED, fix, **more)


def related(name: str, fix: str | None, use: str | None = None, **more: Any) -> Expected:
    return Expected(name, Cause.RELATED_QUERY, fix, use, **more)


def bypassed(name: str, use: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.BYPASSED_PREFETCH, None, use, **more)


def lookup(name: str, fix: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.LOOKUP, fix, **more)


def write(name: str, fix: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.WRITE, fix, **more)


def fixes_of(findings: Iterable[Finding]) -> tuple[Fix, ...]:
    """Return the lines to write, each once."""
    return tuple(dict.fromkeys(each.fix for each in findings if each.fix is not None))
