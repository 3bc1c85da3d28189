"""Indexes: what the models declare twice or not at all, and what the run's queries need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from django_querybudget.budgets.by_view import measured_request
from django_querybudget.conf import conf
from django_querybudget.indexes.advisor import AdvisorReport, Workload, advise
from django_querybudget.indexes.audit.findings import FindingKind
from django_querybudget.indexes.audit.models import audit_models, audited_models

from .launching import FOLDER_VARIABLE
from .notes import write

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["ViewWorkload", "note_advice", "note_models"]


def note_models() -> None:
    """Audit the models, in one process of the run. No database is asked."""
    try:
        Path(os.environ[FOLDER_VARIABLE], "audited").open("x", encoding="utf-8").close()
    except OSError:
        return  # Another process did.
    try:
        settings = conf.INDEXES
        found = [
            {
                "kind": str(each.kind),
                "model": each.model,
                "text": f"{each.message} {each.hint}",
            }
            for each in audit_models(audited_models(third_party=settings.THIRD_PARTY))
            # Nearly every unique_together begins with a foreign key.
            if not (each.kind is FindingKind.PREFIX and each.implied)
            and not each.is_ignored(settings.IGNORE)
        ]
    except Exception as error:  # a driver that is not installed, a model of an unusual kind
        write("problem", f"The models' indexes: {type(error).__name__}: {error}")
    else:
        write("indexes", found)


class ViewWorkload(Workload):
    """What the views of a run ask: not what its tests and their fixtures do."""

    def before(
        self, sql: object, params: object, many: bool, connection: BaseDatabaseWrapper
    ) -> None:
        """Take note of a statement that is about to be sent, if a view asks."""
        if measured_request.get() is not None:
            self.test = self.test or "a test"
            super().before(sql, params, many, connection)


def note_advice(workload: Workload) -> None:
    """Ask the planner what it misses. Nothing, where no view asked anything in this process.

    To be called while the test databases stand.
    """
    try:
        report = advise(workload)
    except Exception as error:  # the tests' databases are to be removed, whatever this meets
        write("problem", f"Missing indexes: {type(error).__name__}: {error}")
        return
    if report.queries:
        write("missing", list(_advised(report)))
    for problem in report.problems:
        write("problem", f"Missing indexes: {problem}")


def _advised(report: AdvisorReport) -> Iterator[dict[str, str]]:
    for each in report.advice:
        label = each.model._meta.label
        views = dict.fromkeys(view for sample in each.samples for view in sample.views)
        for_views = f", for {', '.join(list(views)[:3])}" if views else ""
        yield {"model": label, "text": f"{label}.Meta.indexes: {each.line}{for_views}"}
