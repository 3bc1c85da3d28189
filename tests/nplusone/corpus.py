"""The cases' frame: what one expects, and how a suggested line is put to the test.

A case is a function of a :class:`Run`. It passes every queryset that could be at fault through
``run(...)``: nothing happens to it in the first run, and in the second the text that was suggested
for its model is evaluated on it. ``run.fixed`` is True then, for what the suggestion changes at the
line itself. Lines that must be blamed end in ``# N+1``, the line where the queryset is built in
``# root``.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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

    def __call__(self, queryset: Any) -> Any:
        """Return the queryset with what was suggested for its model."""
        for fix in self.fixes:
            start, *tail = re.split(_METHODS, fix.code, maxsplit=1)
            model = start.partition(".")[0]
            if not tail or (model != queryset.model.__name__ and start.endswith(".objects")):
                continue
            if fix.replaces:
                present = queryset._prefetch_related_lookups
                queryset = queryset.prefetch_related(None).prefetch_related(
                    *(each for each in present if f'"{each}"' not in fix.replaces)
                )
            queryset = eval(f"queryset.{tail[0]}", {"queryset": queryset, **RUN_NAMES})  # noqa: S307
        return queryset

    def write(self, **names: Any) -> None:
        """Execute the suggested statements, with ``names`` for the blanks that they have."""
        (fix,) = self.fixes
        exec(fix.code, {**RUN_NAMES, **names})  # noqa: S102  # the line under test is run

    async def awrite(self, **names: Any) -> dict[str, Any]:
        """Execute the suggested statements as a coroutine does; returns what they assigned."""
        (fix,) = self.fixes
        code = compile(fix.code, "<fix>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        after: dict[str, Any] = {**RUN_NAMES, **names}
        await eval(code, after)  # noqa: S307  # as above
        return after


@dataclass(frozen=True)
class Case:
    """A function and what must be found in it."""

    name: str
    function: Callable[[Run], Any]
    expected: tuple[Expected, ...]
    after: int | None
    """The number of queries with the suggested lines; None where the line has a blank to fill."""
    blamed: str = "N+1"
    """How the comment ends on the lines that must be blamed."""
    allow: tuple[str, ...] = ()
    template: str | None = None
    """The template node, or the serializer's field, that must be named."""

    @property
    def filename(self) -> str:
        return self.function.__code__.co_filename

    def lines(self, marker: str) -> set[int]:
        """Return the numbers of the lines of the function that end in a marker."""
        source, start = inspect.getsourcelines(self.function)
        return {
            start + number
            for number, line in enumerate(source)
            if line.rstrip().endswith(f"# {marker}")
        }


def case(
    *expected: Expected,
    after: int | None = None,
    blamed: str = "N+1",
    allow: Iterable[str] = (),
    template: str | None = None,
) -> Callable[[Callable[[Run], Any]], Callable[[Run], Any]]:
    """Register a function as a case; without ``expected`` nothing must be found."""

    def register(function: Callable[[Run], Any]) -> Callable[[Run], Any]:
        name = function.__name__
        assert name not in CASES, name
        CASES[name] = Case(name, function, expected, after, blamed, tuple(allow), template)
        return function

    return register


def relation(name: str, fix: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.RELATION, fix, **more)


def deferred(name: str, fix: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.DEFERRED, fix, **more)


def related(name: str, fix: str | None, use: str | None = None, **more: Any) -> Expected:
    return Expected(name, Cause.RELATED_QUERY, fix, use, **more)


def bypassed(name: str, use: str | None) -> Expected:
    return Expected(name, Cause.BYPASSED_PREFETCH, None, use)


def lookup(name: str, fix: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.LOOKUP, fix, **more)


def write(name: str, fix: str | None, **more: Any) -> Expected:
    return Expected(name, Cause.WRITE, fix, **more)


def fixes_of(findings: Iterable[Finding]) -> tuple[Fix, ...]:
    """Return the lines to write, each once."""
    return tuple(dict.fromkeys(each.fix for each in findings if each.fix is not None))
