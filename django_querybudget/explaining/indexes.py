"""The indexes of the tables that a view reads: what the audit says of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.db import connections, models, router

from django_querybudget.conf import conf
from django_querybudget.indexes.audit.audit import audit_database
from django_querybudget.indexes.audit.findings import IndexFinding
from django_querybudget.indexes.audit.models import audit_models, audited_models
from django_querybudget.indexes.audit.rendering import link_of

from .counts import Known
from .views import View

__all__ = ["indexes_of"]


def indexes_of(files: Known, view: View, method: str) -> dict[str, Any]:
    """Return the index findings of the tables that the last test run saw a view read or write."""
    runs = files.runs_of(view, method)
    if not runs:
        return {
            "unknown": f"{files.not_reached(view)} The tables are known from there.",
            "tables": [],
            "findings": [],
        }
    named = {table for run in runs.values() for table in run.tables}
    here = [
        model
        for model in audited_models(third_party=True, auto_created=True)
        if model._meta.db_table.lower() in named
    ]
    third_party = conf.INDEXES.THIRD_PARTY
    audited = set(audited_models(third_party=third_party, auto_created=True))
    found, unknown = _findings([each for each in here if each in audited])
    ignore = conf.INDEXES.IGNORE
    return {
        "unknown": unknown,
        "tables": sorted({each._meta.db_table for each in here}),
        "findings": [_told(each) for each in found if not each.is_ignored(ignore)],
    }


def _findings(here: Iterable[type[models.Model]]) -> tuple[list[IndexFinding], str]:
    """Return what the audits of the databases say; what the models alone say, where none can."""
    by_alias: dict[str, list[type[models.Model]]] = {}
    for model in here:
        by_alias.setdefault(router.db_for_read(model), []).append(model)
    found: list[IndexFinding] = []
    unknown: list[str] = []
    for alias, of_alias in sorted(by_alias.items()):
        if _is_made_by_asking(alias):
            problems: tuple[str, ...] = (f"There is no database {alias!r} yet.",)
        else:
            audit = audit_database(alias, of_alias)
            found += audit.findings
            problems = audit.problems or audit.notes
            if not audit.problems:
                unknown += problems
                continue
        found += audit_models(of_alias)
        unknown += [*problems, "What is told is what the models declare."]
    return found, " ".join(dict.fromkeys(unknown))


def _is_made_by_asking(alias: str) -> bool:
    """Whether to connect would make an empty SQLite file, where there is none."""
    if alias not in connections.settings:
        return False
    settings = connections.settings[alias]
    name = str(settings.get("NAME") or "")
    if not settings["ENGINE"].endswith("sqlite3") or ":memory:" in name or "mode=memory" in name:
        return False
    return not Path(name.removeprefix("file:").partition("?")[0]).exists()


def _told(finding: IndexFinding) -> dict[str, Any]:
    return {
        "id": finding.key,
        "kind": str(finding.kind),
        "severity": finding.severity.name.lower(),
        "model": finding.model,
        "table": finding.table,
        "index": finding.index,
        "message": finding.message,
        "hint": finding.hint,
        "docs": link_of(finding),
    }
