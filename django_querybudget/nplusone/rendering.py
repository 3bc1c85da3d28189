"""Findings as text: each queryset's loops, then the line to write for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .findings import Cause, Finding, Fix

__all__ = ["render_findings"]

_VERBS = {
    Cause.RELATION: "load {relation} row by row",
    Cause.DEFERRED: "load the deferred field {relation} row by row",
    Cause.RELATED_QUERY: "run {relation}.{operation}() row by row",
    Cause.BYPASSED_PREFETCH: (
        "run {relation}.{operation}() row by row, though {relation} is prefetched: "
        "only .all() reads what was prefetched"
    ),
    Cause.PREFETCH: "prefetch row by row: call prefetch_related_objects() once, with all rows",
    Cause.WRITE: "{operation} {relation} row by row",
    Cause.UNUSED_EAGER_LOAD: "load {relation}, which nobody reads",
}


def render_findings(findings: Iterable[Finding]) -> list[str]:
    """Return the lines of a report about ``findings``."""
    by_fix: dict[Fix | None, list[Finding]] = {}
    for finding in findings:
        by_fix.setdefault(finding.fix, []).append(finding)
    lines: list[str] = []
    for fix, found in by_fix.items():
        for finding in found:
            lines += _finding_lines(finding)
        if fix is not None:
            lines += _fix_lines(fix, found[0].cause)
    return lines


def _finding_lines(finding: Finding) -> Iterator[str]:
    what = _VERBS.get(finding.cause, "repeat one query of {relation}").format(
        relation=finding.relation or "the database", operation=finding.operation
    )
    if finding.cause is Cause.UNUSED_EAGER_LOAD:
        yield f"  {finding.operation}() seems to {what}"
    else:
        rows = f" ({finding.count} of {finding.peers} rows)" if finding.peers else ""
        yield f"  {finding.count} queries {what}{rows}"
    yield f"        at {finding.origin or 'a line that is not known'}"
    if finding.use is not None:
        instead = "" if finding.replaces is None else f", not {finding.replaces}"
        yield f"        read there: {finding.use}{instead}"
    elif finding.fix is None and finding.hint:
        yield f"        {finding.hint}"


def _fix_lines(fix: Fix, cause: Cause) -> Iterator[str]:
    place = "" if fix.place is None else f", {_where(fix, cause)} {fix.place}"
    saved = "1 query" if fix.saves == 1 else f"{fix.saves} queries"
    yield f"      Write{place} (saves {saved if fix.saves else 'its joins'}){_instead(fix)}:"
    yield from (f"        {line}" for line in fix.code.split("\n"))


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
