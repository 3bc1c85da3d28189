"""The audit of a database: what the models declare against what is there and what is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, models, router
from django.utils.connection import ConnectionDoesNotExist

from django_querybudget.indexes.introspection import (
    DatabaseIndex,
    UnsupportedDatabase,
    Usage,
    check_supported,
    read_snapshot,
)

from .findings import IndexFinding
from .tables import TableAudit

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

MIN_ROWS = 1000
"""Smaller tables fit in a few pages, and the planner reads them whole: indexes look unused."""

YOUNG_DAYS = 7
"""Statistics younger than this may have missed the weekly report that needs an index."""


@dataclass(frozen=True, kw_only=True)
class DatabaseAudit:
    """What the audit of one database found."""

    alias: str
    vendor: str
    findings: tuple[IndexFinding, ...] = ()
    indexes: tuple[DatabaseIndex, ...] = ()
    """Every index of the audited tables."""
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()
    """What the reader has to know to trust the findings."""
    problems: tuple[str, ...] = ()
    """What could not be audited, and why."""


def audit_database(
    alias: str, installed: Iterable[type[models.Model]], *, min_rows: int = MIN_ROWS
) -> DatabaseAudit:
    """Compare the models given with the database ``alias``.

    Never raises for the database's sake: what cannot be audited is told in ``problems``.
    """
    try:
        connection = connections[alias]
    except ConnectionDoesNotExist:
        known = ", ".join(connections)
        return DatabaseAudit(
            alias=alias,
            vendor="",
            problems=(f"There is no database {alias!r} in DATABASES. It names: {known}.",),
        )
    except ImproperlyConfigured as error:
        # Its driver is not installed, say.
        problem = f"Database {alias!r} could not be audited: {error}"
        return DatabaseAudit(alias=alias, vendor="", problems=(problem,))
    try:
        return _audit(connection, list(installed), min_rows)
    except UnsupportedDatabase as error:
        problem = str(error)
    except (DatabaseError, ImproperlyConfigured) as error:
        problem = (
            f"Database {alias!r} could not be audited: {str(error).strip()} "
            f"Check that it is reachable and that the user may read its tables."
        )
    return DatabaseAudit(alias=alias, vendor=connection.vendor, problems=(problem,))


def _audit(
    connection: BaseDatabaseWrapper, installed: list[type[models.Model]], min_rows: int
) -> DatabaseAudit:
    alias = connection.alias
    check_supported(connection)
    here = [model for model in installed if router.allow_migrate_model(alias, model)]
    with connection.cursor() as cursor:
        existing = set(connection.introspection.table_names(cursor))
    absent = sorted({m._meta.db_table for m in here} - existing)
    notes = []
    if absent:
        notes.append(
            f"Tables that do not exist in {alias!r}, so nothing is said of their indexes: "
            f"{', '.join(absent)}. Run 'manage.py migrate --database {alias}'."
        )
    here = [model for model in here if model._meta.db_table in existing]
    snapshot = read_snapshot(connection, sorted({model._meta.db_table for model in here}))
    findings = [
        finding
        for model in here
        for finding in TableAudit(model, connection, snapshot, min_rows=min_rows).findings()
    ]
    usage = snapshot.usage
    if usage.age_days is not None and usage.age_days < YOUNG_DAYS and usage.scans:
        notes.append(
            f"The database has counted the use of indexes only {usage.since}: what runs once a "
            f"week or a month may not have run yet. Wait before you drop an unused index."
        )
    return DatabaseAudit(
        alias=alias,
        vendor=connection.vendor,
        findings=tuple(findings),
        indexes=snapshot.indexes,
        usage=usage,
        notes=(*notes, *usage.notes),
    )


def total_size(audit: DatabaseAudit) -> int:
    """Return the bytes of the audited indexes."""
    return sum(audit.usage.sizes.values())
