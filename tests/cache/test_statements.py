"""Each kind of write, on each database: the next cached read is what the database says.

Every test warms all of ``READS``, proves that they are warm (they run no statement), writes once,
and reads again. A kind that changes no answer at all would prove nothing, and fails. Where the
rows are those of a test before, so is what the cache holds once it is warm: what that test filled
it with is put back (``stored.py``).
"""

from __future__ import annotations

from collections.abc import Callable
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
# By database: its rows, what it answers then, and what the warm cache holds.
WARM: dict[str, tuple[world.Rows, dict[str, object], stored.Stored]] = {}

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


def from_the_database(alias: str) -> dict[str, object]:
    return {name: answer(read, lambda queryset: queryset, alias) for name, read in READS.items()}


def from_the_cache(alias: str) -> dict[str, object]:
    cached = through_the_cache(alias)
    return {name: answer(read, cached, alias) for name, read in READS.items()}


def differences(seen: dict[str, object], true: dict[str, object]) -> dict[str, object]:
    return {name: (seen[name], true[name]) for name in READS if seen[name] != true[name]}


def warm(alias: str) -> dict[str, object]:
    """Fill the cache with every read; fail unless a second round comes from it alone."""
    rows = world.rows(alias)
    if alias in WARM and WARM[alias][0] == rows:  # a flush gives content types other keys
        _, true, filled = WARM[alias]
        # A renewal is not waited for: what the rows' writes sent has to arrive before.
        store_for(CACHES[alias]).read(None, ["nothing"])
        stored.put_back(CACHES[alias], filled)
    else:
        true = from_the_database(alias)
        assert differences(from_the_cache(alias), true) == {}
        filled = stored.taken(CACHES[alias])
    WARM.pop(alias, None)  # until it has been seen to be warm
    cached = through_the_cache(alias)
    for name, read in READS.items():
        with CaptureQueriesContext(connections[alias]) as queries:
            assert answer(read, cached, alias) == true[name]
        # An iterator is for what does not fit into memory: it may go to the database each time.
        if name != "jobs_iterated":
            assert not queries.captured_queries, f"{name}: {_changed(alias, filled)}"
    WARM[alias] = rows, true, filled
    return true


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


def check(alias: str, kind: Kind, before: dict[str, object]) -> None:
    """Fail if a read through the cache differs, or if the write changed nothing at all."""
    true = from_the_database(alias)
    cached = through_the_cache(alias)
    for name, read in READS.items():
        with CaptureQueriesContext(connections[alias]) as queries:
            assert answer(read, cached, alias) == true[name], name
        # What the first read stored.
        if queries and not connections[alias].in_atomic_block:
            assert answer(read, cached, alias) == true[name], name
    assert (true == before) is kind.changes_nothing


@pytest.mark.parametrize(("kind", "alias"), ON_EACH_DATABASE)
def test_the_next_read_is_right(kind: Kind, alias: str) -> None:
    before = warm(alias)
    kind.run(alias)
    check(alias, kind, before)


@pytest.mark.once
@pytest.mark.parametrize(("kind", "alias"), IN_A_TRANSACTION)
def test_reads_in_and_after_a_transaction_are_right(kind: Kind, alias: str) -> None:
    """Once with the write rolled back to a savepoint, then with the write committed."""
    before = warm(alias)
    with transaction.atomic(using=alias):
        with transaction.atomic(using=alias):
            kind.run(alias)
            check(alias, kind, before)
            transaction.set_rollback(True, using=alias)
        assert differences(from_the_cache(alias), before) == {}
    assert differences(from_the_cache(alias), before) == {}
    with transaction.atomic(using=alias):
        kind.run(alias)
    check(alias, kind, before)


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
    before = warm(alias)
    forms._memos_of(tables.tables())
    plant(monkeypatch)
    try:
        kind.run(alias)
    finally:
        monkeypatch.undo()
        forms._memos_of(tables.tables())
    assert differences(from_the_cache(alias), from_the_database(alias)) != {}
    assert from_the_database(alias) != before
