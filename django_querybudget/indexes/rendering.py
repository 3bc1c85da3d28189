"""Audits and advice as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.template.defaultfilters import filesizeformat

from .audit import DatabaseAudit, total_size
from .findings import Finding

_COLUMNS = ("severity", "kind", "model", "index", "size")


def render_audits(audits: Iterable[DatabaseAudit]) -> str:
    """Return the audits as a table of findings each, with what they mean below it."""
    return "\n\n".join(_render(audit) for audit in audits)


def _render(audit: DatabaseAudit) -> str:
    lines = [_headline(audit)]
    ordered = sorted(audit.findings, key=lambda f: (-f.severity.value, f.kind, f.table, f.index))
    if ordered:
        lines += ["", *_table(ordered), ""]
        for finding in ordered:
            lines += [f"{finding.index}: {finding.message}", f"    {finding.hint}"]
    if audit.notes:
        lines += ["", *(f"Note: {note}" for note in audit.notes)]
    lines += [f"Problem: {problem}" for problem in audit.problems]
    return "\n".join(lines)


def _headline(audit: DatabaseAudit) -> str:
    if audit.problems:
        return f"{audit.alias}: not audited"
    counts = Counter(str(finding.kind) for finding in audit.findings)
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing to report"
    size = f", {_size(total_size(audit))}" if audit.usage.sizes else ""
    return f"{audit.alias} ({audit.vendor}): {len(audit.indexes)} indexes{size}: {found}"


def _table(findings: list[Finding]) -> list[str]:
    rows = [_COLUMNS] + [
        (
            finding.severity.name.lower(),
            str(finding.kind),
            finding.model,
            finding.index,
            _size(finding.size),
        )
        for finding in findings
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _size(size: int | None) -> str:
    # filesizeformat joins number and unit by a no-break space, which a terminal may not show.
    return "" if size is None else filesizeformat(size).replace("\xa0", " ")


def render_json(audits: Iterable[DatabaseAudit]) -> str:
    """Return the audits as one JSON document, every index with its size and scans included."""
    return json.dumps({"databases": [_as_dict(audit) for audit in audits]}, indent=2)


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
