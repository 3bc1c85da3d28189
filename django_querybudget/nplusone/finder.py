"""From a log to what is to be said of it: :func:`find_nplusone`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from django_querybudget.conf import conf
from django_querybudget.conf.until import accepted
from django_querybudget.nplusone.fixes.hints import hint_for
from django_querybudget.nplusone.fixes.needs import Part
from django_querybudget.recording.records import QueryLog
from django_querybudget.stacks import is_library

from .allowlist import ignored_at, matching, refused_at
from .detection import Loop, find_loops
from .drafting import Drafting
from .findings import Cause, Finding, Fix
from .naming import cause_of, labels_of

__all__ = ["find_nplusone"]


def find_nplusone(
    log: QueryLog,
    *,
    threshold: int | None = None,
    allow: Iterable[str | Mapping[str, object]] = (),
) -> tuple[Finding, ...]:
    """Return the N+1 queries of ``log``, in the order in which they began.

    ``threshold`` is how often one line must run one shape; ``QUERYBUDGET["NPLUSONE_THRESHOLD"]`` if
    it is None. It is of no use below the threshold that the log was recorded with. ``allow`` adds
    to ``QUERYBUDGET["NPLUSONE_ALLOW"]``. Raises ``TypeError`` for anything but a log.
    """
    if not isinstance(log, QueryLog):
        raise TypeError(f"find_nplusone() takes the log of capture_queries(), not {log!r}.")
    entries = (*conf.NPLUSONE_ALLOW, *map(accepted, allow))
    loops = [
        loop
        for loop in find_loops(log, conf.NPLUSONE_THRESHOLD if threshold is None else threshold)
        if not any(map(ignored_at, loop.lines))
        and all(
            each.until is not None and each.until.days_past
            for each in matching(entries, labels_of(loop.load), loop.origin)
        )
    ]
    try:
        drafted = list(Drafting(log, loops).written())
    except RecursionError:  # An expression of the source is nested too deep to be worked on.
        drafted = [([loop], None, None) for loop in loops]
    return tuple(_merged(_finding(*each) for each in drafted))


def _merged(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings, those as one that say the same: of several requests, of several ways."""
    same: dict[Finding, list[Finding]] = {}
    for each in findings:
        same.setdefault(replace(each, count=0, saves=0, peers=None), []).append(each)
    for first, *more in same.values():
        if not more:
            yield first
            continue
        count, saves = sum(each.count for each in more), sum(each.saves for each in more)
        yield replace(first, count=first.count + count, saves=first.saves + saves)


def _finding(loops: list[Loop], part: Part | None, fix: Fix | None) -> Finding:
    loop = loops[0]
    load = loop.load
    cause = Cause.LOOKUP if load is None else cause_of(load)
    saves = part.saves if part is not None else fix.saves if fix is not None else 0
    return Finding(
        cause=cause,
        relation=next(iter(labels_of(load, short=True)), ""),
        operation=load.operation if load is not None else "",
        origin=loop.origin,
        count=sum(len(each.records) for each in loops),
        saves=saves,
        fix=fix,
        use=None if part is None else part.use,
        replaces=None if part is None else part.replaces,
        alias=loop.alias,
        peers=None if load is None else load.peers,
        fingerprint=loop.fingerprint,
        package=_package_of(loop),
        refused=_refused(loop),
        hint=hint_for(cause, loop) if fix is None and (part is None or part.use is None) else "",
    )


def _refused(loop: Loop) -> str:
    """Return why a comment, or an entry of the allowlist, that means the loop does not hold."""
    for each in matching(conf.NPLUSONE_ALLOW, labels_of(loop.load), loop.origin):
        return f'QUERYBUDGET["NPLUSONE_ALLOW"], {each.pattern!r}, {each.until}'
    return next(filter(None, map(refused_at, reversed(loop.lines))), "")


def _package_of(loop: Loop) -> str:
    """Return the name of the package that runs a loop, if no line of the project does."""
    origin = loop.records[0].origin
    if origin is None or origin.code is None or origin.host or not is_library(origin.code):
        return ""
    *_, path = re.split(r"[/\\](?:site|dist)-packages[/\\]", origin.code.co_filename)
    return re.split(r"[/\\]", path)[0]
