"""How much a scope's data would have shown: :func:`most_rows`, :func:`rows_by_model`.

A loop shows where it runs at least as often as the threshold: a test whose fixtures hold one or two
rows shows none.
"""

from __future__ import annotations

from django_querybudget.evidence import Evidence
from django_querybudget.recording.records import QueryLog

from .detection import FRAMEWORK_TABLES

__all__ = ["most_rows", "rows_by_model"]


def most_rows(log: QueryLog) -> int | None:
    """Return the most rows that one queryset of ``log`` had which might have any number of them.

    None if there was no such queryset, or if none was alive when a later query ran, or now: what is
    not known is not said to be few.
    """
    return max(rows_by_model(log).values(), default=None)


def rows_by_model(log: QueryLog) -> dict[str, int]:
    """Return the same for each model that was listed, by its label: ``{"jobs.Job": 2}``."""
    evidence = log.evidence
    if not isinstance(evidence, Evidence):
        return {}
    evidence.count_rows()
    most: dict[str, int] = {}
    for each in evidence.sources.values():
        if each.is_list and each.rows is not None:
            options = each.model._meta
            if options.db_table not in FRAMEWORK_TABLES:
                most[options.label] = max(each.rows, most.get(options.label, 0))
    return most
