"""Each kind of write, on each database: the next answer of a cached view is the database's.

The kinds are those of :mod:`tests.cache.writes`; the views read in every form: rows by key, scopes,
tables, aggregates, raw SQL, templates rendered late, cached querysets inside of the view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management.color import no_style
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import cache_stats
from django_querybudget.cache.reading import fills, leases, remembered
from django_querybudget.cache.views import learned, serving
from tests.cache import world
from tests.cache.reads import READS as MARKETPLACE
from tests.cache.test_statements import CACHES, IN_A_TRANSACTION, VENDORS
from tests.cache.writes import KINDS, Kind

from .asked import RAW, ask, true_text

Asked = tuple[str, str]
"""A view's form, and the read that it answers."""

FEW: list[Asked] = [
    ("in view", "job_by_key"),
    ("in view", "payments_of_a_payer"),
    ("in view", "jobs_budget"),
    ("in view", "raw_row_by_key"),
    ("in view", "raw_scope"),
    ("nested", "payment_by_key"),
    ("late", "books"),
    ("late", "restaurant_by_key"),
]
ALL: list[Asked] = [
    *(("in view", name) for name in (*MARKETPLACE, *RAW)),
    *(("nested", name) for name in [*MARKETPLACE][::3]),
    *(("late", name) for name in [*MARKETPLACE][1::3]),
    *(("in async", name) for name in [*MARKETPLACE][2::12]),
]


PREFERRED = ("postgres", "mariadb", "default")


def set_up(alias: str, settings: Any) -> None:
    settings.QUERYBUDGET = {
        "CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": CACHES[alias], "RECOVERY_TIME": 0},
    }


def begin(alias: str) -> None:
    caches[CACHES[alias]].clear()
    # What tests before have read on other databases is part of the keys, and of what is asked for:
    # Django's cache in memory has room for 300.
    learned._reads.clear()
    remembered._dependencies.clear()
    leases._unstored.clear()


def empty(alias: str) -> None:
    """Take all rows away, in one transaction: TRUNCATE takes a second."""
    operations = connections[alias].ops
    tables = connections[alias].introspection.django_table_names(only_existing=True)
    operations.execute_sql_flush(operations.sql_flush(no_style(), tables, reset_sequences=False))


def truths(asked: list[Asked], alias: str) -> dict[Asked, str]:
    by_name = {name: true_text(name, alias) for _, name in asked}
    return {one: by_name[one[1]] for one in asked}


def answers(asked: list[Asked], alias: str) -> dict[Asked, str]:
    return {(form, name): ask(form, CACHES[alias], name, alias) for form, name in asked}


def differences(seen: dict[Asked, str], true: dict[Asked, str]) -> dict[Asked, Any]:
    return {one: (seen[one], true[one]) for one in true if seen[one] != true[one]}


def warm(asked: list[Asked], alias: str) -> dict[Asked, str]:
    """Fill the cache; fail unless a second round comes from it alone."""
    true = truths(asked, alias)
    assert differences(answers(asked, alias), true) == {}
    with CaptureQueriesContext(connections[alias]) as queries:
        assert differences(answers(asked, alias), true) == {}
    assert [each["sql"] for each in queries] == [], cache_stats()
    return true


def check(asked: list[Asked], alias: str, kind: Kind) -> dict[Asked, str]:
    true = truths(asked, alias)
    for _ in range(2):  # what the first round stored
        assert differences(answers(asked, alias), true) == {}, kind.name
    return true


@pytest.mark.once
@pytest.mark.parametrize("first", ["default"])
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_the_next_answer_is_right_after_every_kind(first: str, ground: None, settings: Any) -> None:
    """All kinds that SQLite has, after one another on the same few views."""
    set_up(first, settings)
    changed = 0
    from tests.cache.random_programs import Program

    for kind in KINDS.values():
        if "sqlite" not in kind.vendors or kind.name == "flush":
            continue
        Program.templates[first].backup(connections[first].connection)
        begin(first)
        before = warm(FEW, first)
        kind.run(first)
        changed += check(FEW, first, kind) != before
    assert changed > 50


@pytest.mark.once
@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.parametrize(
    "name",
    [
        "save", "create_with_a_known_key", "save_that_moves_a_row_between_scopes",
        "create_of_a_scoped_row", "raw_update", "raw_cte_that_writes",
        "save_of_a_multi_table_parent", "truncate_cascade",
    ],
)  # fmt: skip
def test_the_next_answer_is_right_where_rows_are_told_apart(
    name: str, redis_url: str, settings: Any
) -> None:
    """PostgreSQL says how many rows came, so that a row by its key needs no table."""
    del redis_url
    set_up("postgres", settings)
    world.fill("postgres")
    begin("postgres")
    before = warm([*FEW, ("in view", "job_that_is_missing")], "postgres")
    KINDS[name].run("postgres")
    assert check([*before], "postgres", KINDS[name]) != before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "alias"),
    [
        pytest.param(
            kind,
            alias,
            id=f"{alias}-{kind.name}",
            marks=pytest.mark.django_db(transaction=True, databases=[alias]),
        )
        for kind in KINDS.values()
        # What a kind renews is the same for every vendor, and proved for each with querysets. Here,
        # on PostgreSQL, whose driver tells whether a row was found; else where there is the kind.
        for alias in [next(each for each in PREFERRED if VENDORS[each] in kind.vendors)]
    ],
)
def test_every_view_is_right_after_each_kind(
    kind: Kind, alias: str, redis_url: str, settings: Any
) -> None:
    del redis_url
    set_up(alias, settings)
    world.fill(alias)
    begin(alias)
    before = warm(ALL, alias)
    kind.run(alias)
    true = check(ALL, alias, kind)
    assert (true == before) is kind.changes_nothing


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_the_next_answer_is_right_after_every_kind_on_mariadb(
    redis_url: str, settings: Any
) -> None:
    """All kinds that MariaDB has, after one another on the views of each form."""
    del redis_url
    set_up("mariadb", settings)
    asked = [*FEW, ("in view", "job_that_is_missing"), ("in async", "job_by_key")]
    changed = 0
    for kind in KINDS.values():
        if "mysql" not in kind.vendors:
            continue
        connections["mariadb"].close()  # after some kinds nobody knows what its session is set to
        empty("mariadb")
        world.fill("mariadb")
        begin("mariadb")
        before = warm(asked, "mariadb")
        kind.run("mariadb")
        changed += check(asked, "mariadb", kind) != before
    assert changed > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "alias"), [case for case in IN_A_TRANSACTION if pytest.mark.slow not in case.marks]
)
def test_views_are_right_in_and_after_a_transaction(
    kind: Kind, alias: str, redis_url: str, settings: Any
) -> None:
    """Once with the write rolled back to a savepoint, then with the write committed."""
    del redis_url
    set_up(alias, settings)
    world.fill(alias)
    begin(alias)
    before = warm(FEW, alias)
    with transaction.atomic(using=alias):
        with transaction.atomic(using=alias):
            kind.run(alias)
            check(FEW, alias, kind)
            transaction.set_rollback(True, using=alias)
        assert check(FEW, alias, kind) == before
    assert check(FEW, alias, kind) == before
    with transaction.atomic(using=alias):
        kind.run(alias)
    check(FEW, alias, kind)


# The proof can fail: with one thing taken out, a view of one of the forms is stale.


def _nothing_is_handed_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fills.Fill, "absorb", lambda *_: None)


def _rendering_is_not_seen(patch: pytest.MonkeyPatch) -> None:
    reading = fills.Fill.reading

    def blind(fill: fills.Fill, sql: str, connection: Any, params: Any = None) -> Any:
        # Of a fill that has stopped once, which goes on for the template.
        return None if getattr(fill, "_stopped", False) else reading(fill, sql, connection, params)

    running = serving.Served.running

    def stopping(served: serving.Served) -> Any:
        if served.inputs is not None:
            served.fill._stopped = True  # type: ignore[union-attr]
        return running(served)

    patch.setattr(fills.Fill, "reading", blind)
    patch.setattr(serving.Served, "running", stopping)


def _every_row_is_taken_for_found(patch: pytest.MonkeyPatch) -> None:
    def done(reading: fills.PendingRead, *_: Any) -> None:
        reading.fill.needed |= reading.tags.if_found

    patch.setattr(fills.PendingRead, "done", done)


def _texts_pin_nothing_else(patch: pytest.MonkeyPatch) -> None:
    """As if a pinned statement read its rows alone, and no write of unknown extent counted."""
    read = fills.tags_read

    def without_bulk(sql: str, connection: Any, pins: Any) -> Any:
        found = read(sql, connection, pins)
        if found.if_found:
            found = fills.ReadTags(found.always, _of_rows(found.if_found), found.if_empty)
        return found

    patch.setattr(fills, "tags_read", without_bulk)


def _of_rows(tags: Any) -> frozenset[str]:
    return frozenset(tag for tag in tags if ":b:" not in tag)


@pytest.mark.once
@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.parametrize(
    ("plant", "one", "kind"),
    [
        (_nothing_is_handed_on, ("nested", "payment_by_key"),
         "save_that_moves_a_row_between_scopes"),
        (_rendering_is_not_seen, ("late", "job_by_key"), "save"),
        (_every_row_is_taken_for_found, ("in view", "job_that_is_missing"),
         "create_with_a_known_key"),
        (_texts_pin_nothing_else, ("in view", "job_by_key"), "raw_update"),
    ],
)  # fmt: skip
def test_a_planted_defect_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    one: Asked,
    kind: str,
    redis_url: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del redis_url
    set_up("postgres", settings)
    world.fill("postgres")
    begin("postgres")
    plant(monkeypatch)
    for _ in range(2):
        answers([one], "postgres")
    monkeypatch.undo()
    KINDS[kind].run("postgres")
    assert differences(answers([one], "postgres"), truths([one], "postgres")) != {}
