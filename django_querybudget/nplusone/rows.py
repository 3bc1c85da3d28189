"""How much a scope's data would have shown: :func:`most_rows`, :func:`lists_of`.

A loop shows where it runs at least as often as the threshold: a test whose fixtures hold one or two
rows shows none.
"""

from __future__ import annotations

from collections.abc import Iterator

from django_querybudget.evidence import Evidence
from django_querybudget.recording.records import QueryLog

from .detection import FRAMEWORK_TABLES

__all__ = ["lists_of", "most_rows"]


def most_rows(log: QueryLog) -> int | None:
    """Return the most rows that one queryset of ``log`` had which might have any number of them.

    None if there was no such queryset, or if none was alive when a later query ran, or now: what is
    not known is not said to be few.
    """
    return max((rows for _, rows in lists_of(log) if rows is not None), default=None)


def lists_of(log: QueryLog) -> Iterator[tuple[str, int | None]]:
    """Yield each queryset that might have any number of rows: its model's label, how many it had.

    None for the number if the queryset was gone before it was asked:
    ``for job in Job.objects.all()`` holds the rows, not the queryset.
    """
    evidence = log.evidence
    if isinstance(evidence, Evidence):
        evidence.count_rows()
        for each in evidence.sources.values():
            if each.is_list and each.model._meta.db_table not in FRAMEWORK_TABLES:
                yield each.model._meta.label, each.rows
