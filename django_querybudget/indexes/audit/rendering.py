"""Audits and advice as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.template.defaultfilters import filesizeformat

from django_querybudget.messages.links import message_link, see

from .audit import DatabaseAudit, total_size
from .findings import IndexFinding

VERSION = 1
"""Of the JSON; one that loses a key, or changes what it means, has another."""

_FINDING = ("severity", "kind", "model", "index", "size")
_INDEX = ("table", "index", "columns", "size", "reads")


def render_audits(audits: Iterable[DatabaseAudit], *, every_index: bool = False) -> str:
    """Return the audits as a table of findings each, with what they mean below it.

    ``every_index``: a table of all indexes comes first, the largest on top.
    """
    return "\n\n".join(_render(audit, every_index=every_index) for audit in audits)


def _render(audit: DatabaseAudit, *, every_index: bool) -> str:
    lines = [_headline(audit)]
    if every_index:
        lines += ["", *_table(_INDEX, _index_rows(audit))]
    ordered = sorted(audit.findings, key=lambda f: (-f.severity.value, f.kind, f.table, f.index))
    if ordered:
        lines += ["", *_table(_FINDING, _finding_rows(ordered)), ""]
        for finding in ordered:
            hint = f"{finding.hint} {see(link_of(finding))}"
            lines += [f"{finding.index}: {finding.message}", f"    {hint}"]
    if audit.notes:
        lines += ["", *(f"Note: {note}" for note in audit.notes)]
    lines += [f"Problem: {problem}" for problem in audit.problems]
    return "\n".join(lines)


def link_of(finding: IndexFinding) -> str:
    """Return where the documentation says more of its kind."""
    return message_link(f"index-{finding.kind}")


def _headline(audit: DatabaseAudit) -> str:
    if audit.problems:
        return f"{audit.alias}: not audited"
    counts = Counter(str(finding.kind) for finding in audit.findings)
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing to report"
    size = f", {_size(total_size(audit))}" if audit.usage.sizes else ""
    return f"{audit.alias} ({audit.vendor}): {len(audit.indexes)} indexes{size}: {found}"


def _finding_rows(findings: Iterable[IndexFinding]) -> Iterator[tuple[str, ...]]:
    for finding in findings:
        severity = finding.severity.name.lower()
        yield severity, str(finding.kind), finding.model, finding.index, _size(finding.size)


def _index_rows(audit: DatabaseAudit) -> Iterator[tuple[str, ...]]:
    sizes, scans = audit.usage.sizes, audit.usage.scans
    keys = {(i.definition.table, i.definition.name): i for i in audit.indexes}
    for key in sorted(keys, key=lambda key: (-sizes.get(key, 0), key)):
        columns = ", ".join(keys[key].definition.columns)
        yield *key, columns, _size(sizes.get(key)), str(scans.get(key, ""))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _size(size: int | None) -> str:
    # filesizeformat joins number and unit by a no-break space, which a terminal may not show.
    return "" if size is None else filesizeformat(size).replace("\xa0", " ")


def render_json(audits: Iterable[DatabaseAudit]) -> str:
    """Return the audits as one JSON document, every index with its size and scans included."""
    return json.dumps(
        {"version": VERSION, "databases": [_as_dict(audit) for audit in audits]}, indent=2
    )


def _as_dict(audit: DatabaseAudit) -> dict[str, Any]:
    usage = audit.usage
    return {
        "alias": audit.alias,
        "vendor": audit.vendor,
        "findings": [
            {
                "kind": str(finding.kind),
                "severity": finding.severity.name.lower(),
                "model": finding.model,
                "table": finding.table,
                "index": finding.index,
                "size": finding.size,
                "message": finding.message,
                "hint": finding.hint,
                "docs": link_of(finding),
            }
            for finding in audit.findings
        ],
        "indexes": [
            {
                "table": index.definition.table,
                "name": index.definition.name,
                "columns": list(index.definition.columns),
                "unique": index.definition.unique,
                "method": index.definition.method,
                "valid": index.valid,
                "size": usage.sizes.get((index.definition.table, index.definition.name)),
                "scans": usage.scans.get((index.definition.table, index.definition.name)),
            }
            for index in audit.indexes
        ],
        "statistics_age_days": usage.age_days,
        "notes": list(audit.notes),
        "problems": list(audit.problems),
    }
