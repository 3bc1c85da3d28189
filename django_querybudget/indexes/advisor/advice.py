"""From a recorded workload to the indexes that it needs, proved by the planner.

Nothing is created: the outcome is text to put into a model's ``Meta``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections, models

from django_querybudget.conf import conf
from django_querybudget.indexes.audit.models import audited_models
from django_querybudget.indexes.definitions import IndexDefinition, IndexOrigin, declared_indexes
from django_querybudget.indexes.introspection import UnsupportedDatabase, read_snapshot

from .merge import Candidate, merge_needs
from .needs import Need, Purpose, find_needs
from .planner import Plan, Planner, planner_of, proves
from .workload import Sample, Workload

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One index that the workload needs, and what needs it."""

    model: type[models.Model]
    fields: tuple[str, ...]
    """As in ``Index.fields``; a leading ``-`` descends."""
    purposes: tuple[Purpose, ...]
    samples: tuple[Sample, ...]
    """The query shapes that it serves."""

    @property
    def line(self) -> str:
        """What to put into ``Meta.indexes``."""
        names = ", ".join(f'"{name}"' for name in self.fields)
        return f"models.Index(fields=[{names}])"

    @property
    def index(self) -> models.Index:
        """The same as an object, named as Django will name it."""
        index = models.Index(fields=list(self.fields))
        index.set_name_with_model(self.model)
        return index


@dataclass(frozen=True, kw_only=True)
class AdvisorReport:
    """What the advisor found in one workload."""

    advice: tuple[Advice, ...]
    queries: int
    """How many statements were recorded."""
    shapes: int
    problems: tuple[str, ...] = ()
    """What could not be judged, and why."""


def advise(workload: Workload) -> AdvisorReport:
    """Return the indexes that the workload needs and its databases do not have.

    To be called while the test databases stand. Never raises for a database's sake.
    """
    by_alias: dict[str, list[Sample]] = defaultdict(list)
    for sample in workload.samples:
        by_alias[sample.using].append(sample)
    advice: list[Advice] = []
    problems: list[str] = []
    for alias, samples in by_alias.items():
        advisor = _Advisor(connections[alias], samples)
        try:
            advice += advisor.advise()
        except (DatabaseError, UnsupportedDatabase) as error:
            problems.append(f"The queries on {alias!r} could not be judged: {error}")
        problems += advisor.problems
    return AdvisorReport(
        advice=tuple(_once(advice)),
        queries=sum(sample.count for sample in workload.samples),
        shapes=len(workload.samples),
        problems=tuple(problems),
    )


def _once(advice: Iterable[Advice]) -> Iterator[Advice]:
    """Yield each index once, though the workload of several databases may need it."""
    same: dict[tuple[type[models.Model], tuple[str, ...]], list[Advice]] = defaultdict(list)
    for one in advice:
        same[one.model, one.fields].append(one)
    for ones in same.values():
        yield replace(
            ones[0],
            purposes=tuple({purpose: None for one in ones for purpose in one.purposes}),
            samples=tuple(sample for one in ones for sample in one.samples),
        )


class _Advisor:
    """Judges the samples of one database."""

    def __init__(self, connection: BaseDatabaseWrapper, samples: Iterable[Sample]) -> None:
        self.connection = connection
        self.samples = list(samples)
        self.problems: list[str] = []
        self.models = {
            model._meta.db_table: model
            for model in audited_models(third_party=True, auto_created=True)
        }
        ignore = conf.INDEXES.IGNORE
        self.ours = {
            model._meta.db_table
            for model in audited_models(third_party=conf.INDEXES.THIRD_PARTY)
            if not any(fnmatchcase(model._meta.label, pattern) for pattern in ignore)
        }

    def advise(self) -> list[Advice]:
        planner = planner_of(self.connection)
        if planner is None:
            self.problems.append(
                f"The advisor asks the planners of PostgreSQL and SQLite, and "
                f"{self.connection.alias!r} is {self.connection.vendor!r}: run the tests on one "
                f"of them."
            )
            return []
        indexes, partial = self._indexes()
        weak = self._weak_columns()
        proved: dict[Need, list[Sample]] = defaultdict(list)
        for sample in self.samples:
            wanted = [
                (need, shape)
                for shape in sample.shapes
                for need in find_needs(shape, indexes, weak)
                if need.table in self.ours
            ]
            if not wanted:
                continue
            plan = self._plan(sample, planner)
            if plan is None:
                continue
            for need, shape in wanted:
                if proves(need, shape, plan, partial):
                    proved[need].append(sample)
        return [self._advice(candidate, proved) for candidate in merge_needs(proved)]

    def _plan(self, sample: Sample, planner: Planner) -> Plan | None:
        try:
            return planner(self.connection, sample.sql, sample.params)
        except DatabaseError as error:
            self.problems.append(
                f"The planner could not explain a query of {next(iter(sample.tests))} "
                f"({str(error).strip()}): {sample.sql}"
            )
            return None

    def _indexes(self) -> tuple[dict[str, list[IndexDefinition]], set[str]]:
        """Return the indexes of each table, and the names of those with a condition."""
        tables = {
            access.table for s in self.samples for shape in s.shapes for access in shape.accesses
        }
        snapshot = read_snapshot(self.connection, sorted(tables))
        indexes: dict[str, list[IndexDefinition]] = defaultdict(list)
        for found in snapshot.indexes:
            if found.valid:
                indexes[found.definition.table].append(found.definition)
        for table in tables & self.models.keys():
            # SQLite keeps a table by its primary key, which is in no list of indexes.
            indexes[table] += [
                index
                for index in declared_indexes(self.models[table])
                if index.origin is IndexOrigin.PRIMARY_KEY
            ]
        return indexes, {i.definition.name for i in snapshot.indexes if i.definition.condition}

    def _weak_columns(self) -> set[tuple[str, str]]:
        return {
            (table, field.column)
            for table, model in self.models.items()
            for field in model._meta.local_fields
            if isinstance(field, models.BooleanField) and field.column
        }

    def _advice(self, candidate: Candidate, proved: dict[Need, list[Sample]]) -> Advice:
        model = self.models[candidate.table]
        fields = {field.column: field for field in model._meta.local_fields}
        order = list(fields)

        def rank(column: str) -> tuple[int, ...]:
            # Columns of few values last, and else as the model has them.
            weak = isinstance(fields[column], models.BooleanField)
            return int(weak), order.index(column)

        samples: dict[int, Sample] = {
            id(sample): sample for need in candidate.needs for sample in proved[need]
        }
        return Advice(
            model=model,
            fields=tuple(
                f"{'-' if descending else ''}{fields[column].attname}"
                for column, descending in candidate.columns(rank)
            ),
            purposes=tuple({need.purpose: None for need in candidate.needs}),
            samples=tuple(samples.values()),
        )
