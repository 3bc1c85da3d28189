"""What was recorded: :class:`QueryLog`, the :class:`~.query.QueryRecord` of each. Pure data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from threading import Lock
from typing import Any

from django_querybudget.sql.fingerprints import StatementKind, fingerprint, statement_kind

from .fetched import Fetched, fetched_by
from .overflow import Overflow, Tally
from .query import QueryRecord
from .raw import RawRecord
from .summaries import Summary, Totals, summed

__all__ = ["QueryLog", "QueryRecord", "RawRecord"]


_LOCK = Lock()  # Of every log: a lock of its own could not be copied with it.


class QueryLog:
    """The queries of one scope, in the order in which they were done.

    Statements of transaction control (``BEGIN``, ``SAVEPOINT``, ``COMMIT``, …) are kept apart in
    :attr:`transactions` and count nowhere: some backends send them as statements and some do not.

    A log is appended to while its scope is open; every answer is about what is in it by then.
    Records are made when they are asked for: recording itself appends a tuple. A scope keeps as
    many as ``QUERYBUDGET["MAX_RECORDS"]`` says, and counts what comes after them: see
    :attr:`dropped`.
    """

    def __init__(self) -> None:
        self._raw: list[RawRecord] = []
        self._records: list[QueryRecord] = []
        self._summed: Summary | None = None
        self.evidence: Any = None
        """What the recording saw on the stacks: an ``evidence.Evidence``, or None."""
        self.append: Callable[[RawRecord], None] = self._raw.append
        """Add one statement. Safe to call from several threads."""
        self._tallies: dict[str, Tally] = {}
        self._overflow: Overflow | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _log_of, (tuple(self._made()), self._tallies)

    def count_only(self, raw: RawRecord) -> None:
        """Count one statement, and do not keep it. Safe to call from several threads."""
        with _LOCK:
            overflow = self._overflow
            if overflow is None:
                overflow = self._overflow = Overflow(self._raw, self._tallies)
        overflow.add(raw)

    @property
    def dropped(self) -> int:
        """How many of the counted queries were not kept: those past ``MAX_RECORDS``.

        :attr:`count`, :attr:`duration`, the counts of duplicates, of similar queries and of writes
        have them; :attr:`queries` and what is made of it have not.
        """
        return sum(tally.count for tally in tuple(self._tallies.values()))

    @property
    def raw(self) -> list[RawRecord]:
        """Every statement, transaction control included, as it was recorded."""
        return self._raw

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        # A log is something even when it is empty, as a file is.
        return True

    def __iter__(self) -> Iterator[QueryRecord]:
        return iter(self.queries)

    def __repr__(self) -> str:
        return f"<QueryLog: {self.count} queries, {self.duration * 1000:.1f} ms>"

    def _counted(self) -> list[RawRecord]:
        return [
            raw for raw in self._raw if statement_kind(raw.sql) is not StatementKind.TRANSACTION
        ]

    @property
    def totals(self) -> Totals:
        """What is counted of it, those not kept among it; makes no records."""
        own = self._summary()
        whole = Totals(own.count, own.duration, len(own.repeated), own.rows)
        for tally in tuple(self._tallies.values()):
            whole = whole.plus(tally)
        return whole

    @property
    def count(self) -> int:
        """How many queries there were; failed ones count, transaction control does not."""
        return self.totals.queries

    @property
    def duration(self) -> float:
        """How long the database took for the counted queries, in seconds, added up."""
        return self.totals.seconds

    def _summary(self) -> Summary:
        """Return what every response says of its log, found in one pass and kept until it grows."""
        size = len(self._raw)
        if self._summed is None or self._summed.size != size:
            self._summed = summed(self._raw[:size])
        return self._summed

    @property
    def queries(self) -> tuple[QueryRecord, ...]:
        """The counted queries; the same records every time."""
        return tuple(query for query in self._made() if query.kind is not StatementKind.TRANSACTION)

    @property
    def transactions(self) -> tuple[QueryRecord, ...]:
        """The statements of transaction control that reached the database as statements."""
        return tuple(query for query in self._made() if query.kind is StatementKind.TRANSACTION)

    def _made(self) -> list[QueryRecord]:
        """Return a record for each statement so far, making those that are not made yet."""
        made = self._records
        if len(made) < len(self._raw):
            # Bound anew, not extended: another thread may read the same log.
            made = self._records = made + [QueryRecord.of(raw) for raw in self._raw[len(made) :]]
        return made

    @property
    def writes(self) -> tuple[QueryRecord, ...]:
        """The counted queries whose text says that they write."""
        return tuple(query for query in self.queries if query.kind is StatementKind.WRITE)

    @property
    def write_count(self) -> int:
        """How many of the counted queries write by their text, those not kept among them."""
        dropped = sum(tally.kinds[StatementKind.WRITE] for tally in tuple(self._tallies.values()))
        return len(self.writes) + dropped

    @property
    def duplicates(self) -> tuple[QueryRecord, ...]:
        """The queries that repeat an earlier one: same alias, same SQL, same parameters."""
        positions = self._summary().repeated  # First: the log may grow, but never loses a record.
        made = self._made()
        return tuple(made[position] for position in positions)

    @property
    def duplicate_count(self) -> int:
        """How many queries repeat an earlier one, those not kept among them; makes no records."""
        return self.totals.duplicates

    @property
    def similar_count(self) -> int:
        """How many queries repeat an earlier one's shape on the same database; duplicates too."""
        counted = [(raw.alias, fingerprint(raw.sql)) for raw in self._counted()]
        dropped = sum(tally.similar for tally in tuple(self._tallies.values()))
        return len(counted) - len(set(counted)) + dropped

    @property
    def rows(self) -> int | None:
        """How many rows the queries fetched whose driver tells; None if that is not known of any.

        See :attr:`QueryRecord.rows` and :attr:`rows_unknown`. 0 if no query reads.
        """
        return self.fetched.told

    @property
    def rows_unknown(self) -> int:
        """How many of the queries that read have rows of which nothing is known."""
        return self.fetched.unknown

    @property
    def fetched(self) -> Fetched:
        """Both of these, found in one pass."""
        fetched = fetched_by(self._raw)
        for tally in tuple(self._tallies.values()):
            fetched += tally.fetched
        return fetched

    def on(self, using: str | Collection[str]) -> QueryLog:
        """Return a log of what this one has by now on the databases that ``using`` names."""
        aliases = {using} if isinstance(using, str) else using
        log = QueryLog()
        log._raw.extend(raw for raw in self._raw if raw.alias in aliases)
        log._tallies = {name: own for name, own in self._tallies.items() if name in aliases}
        return log

    def by_fingerprint(self) -> dict[str, tuple[QueryRecord, ...]]:
        """The counted queries by their shape, shapes in the order in which they first came."""
        shapes: dict[str, list[QueryRecord]] = {}
        known: dict[str, str] = {}  # The module's cache is too small for the texts of a long log.
        for query in self.queries:
            shape = known.get(query.sql)
            if shape is None:
                shape = known[query.sql] = query.fingerprint
            shapes.setdefault(shape, []).append(query)
        return {shape: tuple(queries) for shape, queries in shapes.items()}


def _log_of(records: tuple[QueryRecord, ...], tallies: dict[str, Tally]) -> QueryLog:
    """Return a log with ``records`` in it, as they are: what pickle and copy rebuild one with."""
    log = QueryLog()
    for made in records:
        log.append(made.raw)
    log._records = list(records)
    log._tallies = tallies
    return log
