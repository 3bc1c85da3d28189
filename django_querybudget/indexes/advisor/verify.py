"""Is the advice worth it on real data? The planner's costs, with and without the index.

With HypoPG the index is hypothetical: nothing is built. Without, and only where it was asked for,
the index is built in a transaction that is rolled back; the table cannot be written to meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections, transaction

from django_querybudget.exceptions import QueryBudgetError

from .advice import Advice
from .planner import explain_postgresql

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

MIN_SAVING = 0.5
"""Of a plan's cost; less is not worth an index that each write has to keep up."""

LOCK_TIMEOUT = "2s"


_Pretend = Callable[["BaseDatabaseWrapper", str], AbstractContextManager[None]]


class CannotVerify(QueryBudgetError):
    """The database cannot tell what an index would save; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What an advised index would save on real data."""

    advice: Advice
    saving: float
    """Of the cost of the plan that gains most, from 0 to 1."""
    cost_before: float
    cost_after: float
    problem: str = ""
    """Why it could not be told."""

    @property
    def worth_it(self) -> bool:
        """Whether it saves at least half."""
        return self.saving >= MIN_SAVING

    @property
    def text(self) -> str:
        """The verdict as a line for people."""
        if self.problem:
            return f"not verified: {self.problem}"
        verdict = "worth it" if self.worth_it else "not worth it"
        return (
            f"{verdict} on this data: saves {self.saving:.0%} of the plan's cost "
            f"({self.cost_before:.0f} to {self.cost_after:.0f})"
        )


def verify(
    advised: Iterable[Advice], alias: str, *, create_and_rollback: bool = False
) -> list[Saving]:
    """Return a verdict on each advised index, from the planner of the database ``alias``.

    Raises:
        CannotVerify: the planner tells no costs, or neither HypoPG is installed nor
            ``create_and_rollback`` given.
        django.db.DatabaseError: the database cannot be reached.
    """
    pretend = _pretend(alias, create_and_rollback=create_and_rollback)
    return [_verdict(advice, connections[alias], pretend) for advice in advised]


def check_verifiable(alias: str, *, create_and_rollback: bool = False) -> None:
    """Raise what :func:`verify` would, before there is anything to verify; leave no connection."""
    try:
        _pretend(alias, create_and_rollback=create_and_rollback)
    finally:
        connections[alias].close()


def _pretend(alias: str, *, create_and_rollback: bool) -> _Pretend:
    connection = connections[alias]
    if connection.vendor != "postgresql":
        raise CannotVerify(
            f"Only PostgreSQL's planner tells what an index would save, and {alias!r} is "
            f"{connection.vendor!r}."
        )
    if _has_hypopg(connection):
        return _hypothetical
    if create_and_rollback:
        return _rolled_back
    raise CannotVerify(
        f"HypoPG is not installed in {alias!r}: 'CREATE EXTENSION hypopg' there, or give "
        f"--create-and-rollback, which builds each index in a transaction that is rolled "
        f"back and blocks writes to the table meanwhile."
    )


def _has_hypopg(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'hypopg'")
        return cursor.fetchone() is not None


def _verdict(advice: Advice, connection: BaseDatabaseWrapper, pretend: _Pretend) -> Saving:
    try:
        before = _costs(advice, connection)
        with pretend(connection, _statement(advice, connection)):
            after = _costs(advice, connection)
    except DatabaseError as error:
        return Saving(
            advice=advice, saving=0, cost_before=0, cost_after=0, problem=str(error).strip()
        )
    saving, cost_before, cost_after = max(
        (1 - new / old if old else 0, old, new) for old, new in zip(before, after, strict=True)
    )
    return Saving(advice=advice, saving=saving, cost_before=cost_before, cost_after=cost_after)


def _costs(advice: Advice, connection: BaseDatabaseWrapper) -> list[float]:
    plans = [explain_postgresql(connection, s.sql, s.params) for s in advice.samples]
    return [plan.cost or 0.0 for plan in plans]


def _statement(advice: Advice, connection: BaseDatabaseWrapper) -> str:
    editor = connection.schema_editor(collect_sql=True)
    return str(advice.index.create_sql(advice.model, editor))


@contextmanager
def _hypothetical(connection: BaseDatabaseWrapper, statement: str) -> Iterator[None]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM hypopg_create_index(%s)", [statement])
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT hypopg_reset()")


@contextmanager
def _rolled_back(connection: BaseDatabaseWrapper, statement: str) -> Iterator[None]:
    with transaction.atomic(using=connection.alias):
        with connection.cursor() as cursor:
            # Rather give up than queue behind a long transaction, with all writes behind us.
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            cursor.execute(statement)
        yield
        transaction.set_rollback(True, using=connection.alias)
