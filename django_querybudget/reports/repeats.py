"""What this process has analysed and told already, so that nothing is said or done twice.

In development one page is asked for again and again. Its log is the same, and so are its loops:
they are looked for once, and told whole once. Both memories are bounded and are forgotten with the
process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from django_querybudget.conf import conf
from django_querybudget.conf.until import today
from django_querybudget.recording.summaries import parameters_key

if TYPE_CHECKING:
    from django_querybudget.nplusone import Finding
    from django_querybudget.recording.records import QueryLog

    from .report import QueryReport

__all__ = ["findings_of", "forget", "is_news"]

V = TypeVar("V")

REMEMBERED = 256
"""So many scopes are remembered, by name: the one that came up longest ago goes first."""

_analysed: OrderedDict[str, tuple[int, tuple[Finding, ...]]] = OrderedDict()
_told: OrderedDict[str, int] = OrderedDict()
_lock = Lock()


def findings_of(name: str, log: QueryLog, threshold: int | None) -> tuple[Finding, ...]:
    """Return the N+1 queries of ``log``: those of the last log of ``name``, if it is the same.

    Two logs are the same if they have the same statements with the same parameters from the same
    lines in the same order, on the same day: what is accepted may expire.
    """
    signature = _signature(log, threshold)
    with _lock:
        known = _analysed.get(name)
    if known is not None and known[0] == signature:
        return known[1]
    from django_querybudget.nplusone import find_nplusone  # heavy, seldom needed

    found = find_nplusone(log, threshold=threshold)
    _remember(_analysed, name, (signature, found))
    return found


def is_news(report: QueryReport) -> bool:
    """Whether the report's loops and exceeded budgets are others than those told of its scope.

    How often a loop ran is no news: a page with more rows has the same loop.
    """
    loops = map(_uncounted, report.findings)
    exceeded = {each.dimension for each in report.violations}
    content = hash((frozenset(loops), frozenset(exceeded), bool(report.unjudged)))
    with _lock:
        known = _told.get(report.name)
    _remember(_told, report.name, content)
    return known != content


def _uncounted(finding: Finding) -> Finding:
    fix = None if finding.fix is None else replace(finding.fix, saves=0)
    return replace(finding, count=0, saves=0, peers=None, fix=fix)


def forget() -> None:
    """Forget everything, as a new process has."""
    with _lock:
        _analysed.clear()
        _told.clear()


def _remember(memory: OrderedDict[str, V], name: str, value: V) -> None:
    with _lock:
        memory[name] = value
        memory.move_to_end(name)
        while len(memory) > REMEMBERED:
            memory.popitem(last=False)


def _signature(log: QueryLog, threshold: int | None) -> int:
    parts: list[Hashable] = [threshold, conf.NPLUSONE_THRESHOLD, conf.NPLUSONE_ALLOW, today()]
    parts += [
        # An executemany has any number of parameters; a loop of them is told by text and line.
        (raw.sql, raw.alias, raw.origin, None if raw.many else parameters_key(raw.params))
        for raw in log.raw
    ]
    return hash(tuple(parts))
