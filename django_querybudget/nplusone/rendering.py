"""Findings as text: each queryset's loops, then the line to write for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django_querybudget.messages.links import message_link
from django_querybudget.messages.plurals import counted

from .findings import Cause, Finding, Fix
from .layout import WIDTH, laid_out

__all__ = ["MOST_FINDINGS", "described", "link_of", "render_findings"]

MOST_FINDINGS = 50
"""How many loops a report tells of in full: a person reads no more."""
_INDENT = 8

_VERBS = {
    Cause.RELATION: "load {relation} row by row",
    Cause.DEFERRED: "load the deferred field {relation} row by row",
    Cause.RELATED_QUERY: "run {relation}.{operation}() row by row",
    Cause.BYPASSED_PREFETCH: (
        "run {relation}.{operation}() row by row, though {relation} is prefetched: "
        "only .all() reads what was prefetched"
    ),
    Cause.PREFETCH: "prefetch {relation} row by row: prefetch_related_objects() takes all rows",
    Cause.WRITE: "{operation} {relation} row by row",
    Cause.UNUSED_EAGER_LOAD: "load {relation}, which nobody reads",
}


def render_findings(findings: Iterable[Finding], *, most: int = MOST_FINDINGS) -> list[str]:
    """Return the lines of a report about ``findings``, at most ``most`` of them in full.

    Those of most queries come first into that number; the others are counted. Loops that only an
    installed package's code runs are one line together.
    """
    given = list(findings)
    outside = [each for each in given if each.package and each.fix is None and each.use is None]
    own = [each for each in given if not any(each is other for other in outside)]
    kept = {id(each) for each in sorted(own, key=lambda each: -each.count)[:most]}
    by_fix: dict[Fix | None, list[Finding]] = {}
    for finding in own:
        if id(finding) in kept:
            by_fix.setdefault(finding.fix, []).append(finding)
    lines: list[str] = []
    for fix, found in by_fix.items():
        for finding in found:
            lines += _finding_lines(finding)
        if fix is not None:
            lines += _fix_lines(fix, found[0].cause)
    left = [each for each in own if id(each) not in kept]
    if left:
        count = sum(each.count for each in left)
        lines.append(f"  … and {len(left)} more loops of {count} queries: see find_nplusone(log).")
    if outside:
        lines.append(_outside_line(outside))
    return lines


def link_of(findings: Iterable[Finding]) -> str:
    """Return where the documentation says more: of their cause, if they have one in common."""
    causes = {each.cause for each in findings}
    if len(causes) != 1:
        return message_link("nplusone")
    return message_link(causes.pop().name.lower().replace("_", "-"))


def _outside_line(findings: list[Finding]) -> str:
    packages = ", ".join(sorted({each.package for each in findings}))
    count = sum(each.count for each in findings)
    loops = counted(len(findings), "loop")
    return f"  {count} queries in {loops} that only installed packages run: {packages}"


def described(finding: Finding) -> str:
    """Return what the queries do, without their number: ``load Application.job row by row``."""
    return _VERBS.get(finding.cause, "repeat one query of {relation}").format(
        relation=finding.relation or "the database", operation=finding.operation
    )


def _finding_lines(finding: Finding) -> Iterator[str]:
    what = described(finding)
    if finding.cause is Cause.UNUSED_EAGER_LOAD:
        yield f"  {finding.operation}() seems to {what}"
    else:
        rows = f" ({finding.count} of {finding.peers} rows)" if finding.peers else ""
        yield f"  {finding.count} queries {what}{rows}"
    yield f"        at {finding.origin or 'a line that is not known'}"
    if finding.refused:
        yield f"        {finding.refused}"
    if finding.use is not None:
        yield from _use_lines(finding.use, finding.replaces)
    elif finding.fix is None and finding.hint:
        yield f"        {finding.hint}"


def _use_lines(use: str, replaces: str | None) -> Iterator[str]:
    instead = "" if replaces is None else f", not {replaces}"
    line = f"        read there: {use}{instead}"
    if len(line) <= WIDTH + _INDENT:
        yield line
        return
    first, *more = laid_out(use)
    yield f"        read there: {first}"
    yield from (f"          {each}" for each in more)
    if replaces is not None:
        yield f"        in place of: {replaces}"


def _fix_lines(fix: Fix, cause: Cause) -> Iterator[str]:
    place = "" if fix.place is None else f", {_where(fix, cause)} {fix.place}"
    saved = counted(fix.saves, "query", "queries") if fix.saves else "its joins"
    yield f"      Write{place} (saves {saved}){_instead(fix)}:"
    for line in (*fix.imports, *laid_out(fix.code)):
        yield f"        {line}"
    if fix.note:
        yield f"      {fix.note}"


def _where(fix: Fix, cause: Cause) -> str:
    if fix.where:
        return fix.where
    if fix.in_loop:
        if fix.alone:
            return "for that statement alone, after the loop at"
        return "instead of the loop at" if cause is Cause.WRITE else "before the loop at"
    return "at" if fix.built else "evaluated at"


def _instead(fix: Fix) -> str:
    return f", in place of prefetch_related({', '.join(fix.replaces)})" if fix.replaces else ""
