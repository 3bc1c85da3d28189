"""How much a scope's data would have shown: :func:`most_rows`.

A loop shows where it runs at least as often as the threshold: a test whose fixtures hold one or two
rows shows none.
"""

from __future__ import annotations

from django_querybudget.evidence import Evidence
from django_querybudget.recording.records import QueryLog

from .detection import FRAMEWORK_TABLES

__all__ = ["most_rows"]


def most_rows(log: QueryLog) -> int | None:
    """Return the most rows that one queryset of ``log`` had which might have any number of them.

    None if there was no such queryset, or if none was alive when a later query ran, or now: what is
    not known is not said to be few.
    """
    evidence = log.evidence
    if not isinstance(evidence, Evidence):
        return None
    evidence.count_rows()
    sizes = [
        each.rows
        for each in evidence.sources.values()
        if each.is_list and each.rows is not None
        if each.model._meta.db_table not in FRAMEWORK_TABLES
    ]
    return max(sizes, default=None)
