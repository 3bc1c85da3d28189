"""Each kind of write, on each database: the next cached read is what the database says.

Every test warms all of ``READS``, proves that they are warm (they run no statement), writes once,
and reads again. A kind that changes no answer at all would prove nothing, and fails. Where the
rows are those of a test before, so is what the cache holds once it is warm: what that test filled
it with is put back (``stored.py``), and an eighth of the reads prove that it is warm.

After the write, a read that names no table whose rows are others now has the answer that it had:
whether it is one from the cache or a new one, it cannot be stale. So all others are read, and of
these an eighth, for each kind and database another one. The long run reads all, and proves that no
other answer has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import cache_stats, cached_queryset, tables
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.writing import forms, statements, watcher
from django_querybudget.cache.writing import old_scopes as scopes
from tests.cache import stored, world
from tests.cache.reads import READS, Cached, answer
from tests.cache.writes import KINDS, Kind

VENDORS = {"default": "sqlite", "postgres": "postgresql", "mariadb": "mysql"}
CACHES = {"default": "default", "postgres": "redis", "mariadb": "redis"}


@dataclass(frozen=True)
class Warm:
    """A database and its cache: the rows, what is answered then, and what the warm cache holds."""

    rows: world.Rows
    true: dict[str, object]
    tables: dict[str, set[str]]  # that the statements of each read name
    filled: stored.Stored

    def changed(self, rows: world.Rows) -> set[str]:
        """Return the reads that may answer differently now, with ``rows``."""
        tables = {name for name in rows if rows[name] != self.rows[name]}
        return {name for name in READS if not self.tables[name].isdisjoint(tables)}


WARM: dict[str, Warm] = {}  # by database

ON_EACH_DATABASE = [
    pytest.param(
        kind,
        alias,
        id=f"{alias}-{kind.name}",
        marks=[
            pytest.mark.django_db(transaction=True, databases=[alias]),
            *([] if alias == "default" else [pytest.mark.once]),
        ],
    )
    for alias, vendor in VENDORS.items()
    for kind in KINDS.values()
    if vendor in kind.vendors
]
# What a transaction does to the tags is the same for every vendor: each kind runs on the first
# database that has it, and on the others in the long run.
IN_A_TRANSACTION = [
    pytest.param(*case.values, id=case.id, marks=[*case.marks, *long])
    for case in ON_EACH_DATABASE
    for kind, alias in [case.values]
    if kind.in_atomic
    for first in [next(name for name, vendor in VENDORS.items() if vendor in kind.vendors)]
    for long in [[] if alias == first else [pytest.mark.slow]]
]


@pytest.fixture(autouse=True)
def rows(alias: str, redis_url: str, db: None, settings: Any) -> None:
    del redis_url, db
    settings.QUERYBUDGET = {
        "CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": CACHES[alias]},
    }
    caches[CACHES[alias]].clear()
    world.fill(alias)


def through_the_cache(alias: str) -> Cached:
    return lambda queryset: cached_queryset(queryset, 600, cache=CACHES[alias])


def from_the_database(alias: str, names: Iterable[str] = READS) -> dict[str, object]:
    return {name: answer(READS[name], lambda queryset: queryset, alias) for name in names}


def from_the_cache(alias: str, names: Iterable[str] = READS) -> dict[str, object]:
    cached = through_the_cache(alias)
    return {name: answer(READS[name], cached, alias) for name in names}


def differences(seen: dict[str, object], true: dict[str, object]) -> dict[str, object]:
    """Return what was seen and is not true."""
    return {name: (each, true[name]) for name, each in seen.items() if each != true[name]}


def an_eighth(kind: Kind, alias: str) -> list[str]:
    """Return the names of every eighth read: others for the next kind, and on the next database."""
    return [*READS][([*KINDS].index(kind.name) + [*VENDORS].index(alias)) % 8 :: 8]


def warm(alias: str, kind: Kind) -> Warm:
    """Fill the cache with every read; fail unless a second round comes from it alone."""
    rows = world.rows(alias)
    known = WARM.pop(alias, None)  # until it has been seen to be warm
    if known and known.rows == rows:  # a flush gives content types other keys
        # A renewal is not waited for: what the rows' writes sent has to arrive before.
        store_for(CACHES[alias]).read(None, ["nothing"])
        stored.put_back(CACHES[alias], known.filled)
        found = known
        # All were warm with these very entries. What the process itself remembers may have changed.
        asked = an_eighth(kind, alias)
    else:
        true, tables = _asked_of_the_database(alias, rows)
        assert differences(from_the_cache(alias), true) == {}
        found = Warm(rows, true, tables, stored.taken(CACHES[alias]))
        asked = [*READS]
    cached = through_the_cache(alias)
    for name in asked:
        with CaptureQueriesContext(connections[alias]) as queries:
            assert answer(READS[name], cached, alias) == found.true[name]
        # An iterator is for what does not fit into memory: it may go to the database each time.
        if name != "jobs_iterated":
            assert not queries.captured_queries, f"{name}: {_changed(alias, found.filled)}"
    WARM[alias] = found
    return found


def _asked_of_the_database(
    alias: str, rows: world.Rows
) -> tuple[dict[str, object], dict[str, set[str]]]:
    """Return what the database answers, and which tables each read's statements name."""
    true: dict[str, object] = {}
    tables = {}
    for name, read in READS.items():
        with CaptureQueriesContext(connections[alias]) as queries:
            true[name] = answer(read, lambda queryset: queryset, alias)
        texts = " ".join(query["sql"] for query in queries)
        # A name in another one is taken for named, too: the read is asked once more for nothing.
        tables[name] = {table for table in rows if table in texts}
        assert tables[name], name
    return true, tables


def _changed(alias: str, filled: stored.Stored) -> str:
    """Say what the cache holds now that is not what it was filled with: key, was, is."""
    was, now = (
        {each[0]: each[1] for each in all_} for all_ in (filled, stored.taken(CACHES[alias]))
    )
    changed = [
        f"{key!r}: {str(was.get(key))[:200]} {str(now.get(key))[:200]}"
        for key in sorted(was.keys() | now.keys(), key=str)
        if was.get(key) != now.get(key)
    ]
    return "\n".join((*changed, str(cache_stats().not_stored)))


def now_true(alias: str, before: Warm) -> dict[str, object]:
    """Return what the database answers, asked for what can have changed since ``before``."""
    return before.true | from_the_database(alias, before.changed(world.rows(alias)))


def check(alias: str, kind: Kind, before: Warm, names: Iterable[str]) -> None:
    """Fail if one of these reads differs through the cache, or if the write changed nothing."""
    true = now_true(alias, before)
    cached = through_the_cache(alias)
    for name in names:
        with CaptureQueriesContext(connections[alias]) as queries:
            assert answer(READS[name], cached, alias) == true[name], name
        # What the first read stored.
        if queries and not connections[alias].in_atomic_block:
            assert answer(READS[name], cached, alias) == true[name], name
    assert (true == before.true) is kind.changes_nothing


@pytest.mark.parametrize(("kind", "alias"), ON_EACH_DATABASE)
def test_the_next_read_is_right(kind: Kind, alias: str) -> None:
    before = warm(alias, kind)
    kind.run(alias)
    names = before.changed(world.rows(alias)).union(an_eighth(kind, alias))
    check(alias, kind, before, names)


@pytest.mark.once
@pytest.mark.parametrize(("kind", "alias"), IN_A_TRANSACTION)
def test_reads_in_and_after_a_transaction_are_right(kind: Kind, alias: str) -> None:
    """Once with the write rolled back to a savepoint, then with the write committed."""
    before = warm(alias, kind)
    with transaction.atomic(using=alias):
        with transaction.atomic(using=alias):
            kind.run(alias)
            names = before.changed(world.rows(alias)).union(an_eighth(kind, alias))
            check(alias, kind, before, names)
            transaction.set_rollback(True, using=alias)
        assert differences(from_the_cache(alias, names), before.true) == {}
    assert differences(from_the_cache(alias, names), before.true) == {}
    with transaction.atomic(using=alias):
        kind.run(alias)
    check(alias, kind, before, names)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "alias"), ON_EACH_DATABASE)
def test_every_read_is_right_and_no_other_answer_has_changed(kind: Kind, alias: str) -> None:
    before = warm(alias, kind)
    kind.run(alias)
    check(alias, kind, before, READS)
    assert now_true(alias, before) == from_the_database(alias)


# The proof can fail: with one thing taken out of the library, a kind of write leaves reads stale.


def _no_cascades(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tables.Tables, "deleted_with", lambda *_, **__: frozenset())


def _no_tables(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(statements, "whole_table", lambda *_: set())


def _no_rows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(statements, "_add_rows", lambda *_: None)


def _first_word_only(patch: pytest.MonkeyPatch) -> None:
    form_of = forms.form_of
    patch.setattr(
        watcher, "form_of", lambda sql, of: None if sql[:4] == "WITH" else form_of(sql, of)
    )


def _no_old_scopes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scopes, "written", lambda *_: set())


def _no_values(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(statements, "_inserted", lambda *_: set())


def _no_assigned_values(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(statements, "_assigned", lambda *_: set())


def _no_assigned_columns(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(statements.tags, "column_tag", lambda *_: "d:c:nothing:x")


def _no_limits_order(patch: pytest.MonkeyPatch) -> None:
    """Not planted in the text's reading, which is remembered: in what a write renews of it."""
    column_tag = statements.tags.column_tag
    patch.setattr(
        statements.tags,
        "column_tag",
        lambda database, table, name: column_tag(database, table, "x" if name == "price" else name),
    )


def _no_executemany(patch: pytest.MonkeyPatch) -> None:
    effect = statements.effect

    def blind(form: Any, params: Any, many: bool, database: str) -> Any:
        return statements.Write(frozenset()) if many else effect(form, params, many, database)

    patch.setattr(watcher, "effect", blind)


@pytest.mark.parametrize(
    ("plant", "kind", "alias"),
    [
        pytest.param(
            plant,
            KINDS[name],
            alias,
            id=f"{plant.__name__.strip('_')}-{alias}-{name}",
            marks=pytest.mark.django_db(transaction=True, databases=[alias]),
        )
        for plant, alias, name in [
            (_no_cascades, "default", "database_cascade"),
            (_no_cascades, "postgres", "truncate_cascade"),
            (_no_tables, "default", "update_of_all"),
            (_no_rows, "default", "bulk_create"),
            (_no_tables, "mariadb", "raw_update_of_two_tables"),
            (_no_rows, "default", "save"),
            (_no_rows, "default", "m2m_row_of_the_through_model_saved"),
            (_first_word_only, "default", "raw_cte_before_the_write"),
            (_first_word_only, "postgres", "raw_cte_that_writes"),
            (_no_old_scopes, "default", "save_that_moves_a_row_between_scopes"),
            (_no_executemany, "default", "raw_executemany"),
            (_no_values, "default", "create_in_a_list"),
            (_no_values, "postgres", "bulk_create_in_lists"),
            (_no_values, "mariadb", "raw_insert_into_a_list_as_the_orm_writes_it"),
            (_no_assigned_values, "default", "save_that_moves_a_row_between_lists"),
            (_no_assigned_values, "postgres", "save_of_a_foreign_key_alone"),
            (_no_assigned_columns, "default", "save_of_a_condition_alone"),
            (_no_assigned_columns, "mariadb", "bulk_update_of_a_condition"),
            (_no_limits_order, "default", "save_of_an_order_alone"),
        ]
        if name in KINDS
    ],
)
def test_a_planted_defect_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    kind: Kind,
    alias: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = warm(alias, kind)
    tables.tables().forms.clear()
    plant(monkeypatch)
    try:
        kind.run(alias)
    finally:
        monkeypatch.undo()
        tables.tables().forms.clear()
    assert differences(from_the_cache(alias), from_the_database(alias)) != {}
    assert from_the_database(alias) != before.true
