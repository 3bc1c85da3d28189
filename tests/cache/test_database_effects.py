"""What the database changes by itself: its own cascades, and a table through its partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, models, transaction
from django.db.models import functions
from django.db.models.expressions import RawSQL

from django_querybudget.cache import cache_stats, cached_queryset, tables
from tests.cache.relations.models import Entry, Ledger, Measured, Remark

pytestmark = pytest.mark.once


def run(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def read(model: Any, alias: str) -> list[Any]:
    """Return all rows, how many there are, and each by its key, through the cache."""
    rows = model.objects.using(alias)
    ordered = list(cached_queryset(rows.order_by("pk").values_list()))
    by_key = [cached_queryset(rows.filter(pk=key)).first() for key in (1, 2)]
    return [ordered, cached_queryset(rows).count(), [each and each.pk for each in by_key]]


def true(model: Any, alias: str) -> list[Any]:
    rows = model.objects.using(alias)
    by_key = [rows.filter(pk=key).first() for key in (1, 2)]
    return [
        list(rows.order_by("pk").values_list()), rows.count(), [each and each.pk for each in by_key]
    ]  # fmt: skip


def assert_warm(models: list[Any], alias: str) -> None:
    for model in models * 2:
        read(model, alias)
    cache_stats(reset=True)
    for model in models:
        read(model, alias)
    assert cache_stats().hits == 4 * len(models)


# A DO_NOTHING to which a migration of the host's has added ON DELETE CASCADE


@pytest.fixture
def ledgers(alias: str, redis_url: str, db: None, settings: Any) -> Iterator[None]:
    """Two ledgers, an entry of each, and a remark on each."""
    del redis_url, db
    cache = "default" if alias == "default" else "redis"
    settings.QUERYBUDGET = {"CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": cache}}
    run(alias, "DROP TABLE relations_remark", "DROP TABLE relations_entry")
    for child, parent in (("entry", "ledger"), ("remark", "entry")):
        run(
            alias,
            f"CREATE TABLE relations_{child} (id bigint NOT NULL PRIMARY KEY, "
            f"text varchar(40) NOT NULL, {parent}_id bigint NOT NULL, FOREIGN KEY ({parent}_id) "
            f"REFERENCES relations_{parent} (id) ON DELETE CASCADE)",
        )
    for key in (1, 2):
        Ledger.objects.using(alias).create(pk=key, name=f"ledger {key}")
        Entry.objects.using(alias).create(pk=key, ledger_id=key, text=f"entry {key}")
        Remark.objects.using(alias).create(pk=key, entry_id=key, text=f"remark {key}")
    yield
    run(alias, "DROP TABLE relations_remark", "DROP TABLE relations_entry")
    with connections[alias].schema_editor() as editor:
        for model in (Entry, Remark):
            editor.create_model(model)


CASCADES: dict[str, tuple[list[str], Callable[[str], Any]]] = {
    "delete": (
        ["default", "postgres", "mariadb"],
        lambda alias: Ledger.objects.using(alias).get(pk=1).delete(),
    ),
    "delete of some": (
        ["default", "postgres", "mariadb"],
        lambda alias: Ledger.objects.using(alias).filter(name="ledger 1").delete(),
    ),
    "of the one in the middle": (
        ["default", "postgres", "mariadb"],
        lambda alias: Entry.objects.using(alias).filter(pk=1).delete(),
    ),
    "raw": (
        ["default", "postgres", "mariadb"],
        lambda alias: run(alias, "DELETE FROM relations_ledger WHERE id = 1"),
    ),
    "in a CTE": (
        ["postgres"],
        lambda alias: run(
            alias,
            "WITH gone AS (DELETE FROM relations_ledger WHERE id = 1 RETURNING id) "
            "SELECT count(*) FROM gone",
        ),
    ),
    "replaced": (
        ["default", "mariadb"],
        lambda alias: run(alias, "REPLACE INTO relations_ledger (id, name) VALUES (1, 'new')"),
    ),
    "truncated": (["postgres"], lambda alias: run(alias, "TRUNCATE relations_ledger CASCADE")),
}


@pytest.mark.parametrize(
    ("alias", "name", "atomic"),
    [
        pytest.param(
            alias,
            name,
            atomic,
            id=f"{alias}-{name}-{'atomic' if atomic else 'alone'}",
            marks=pytest.mark.django_db(transaction=True, databases=[alias]),
        )
        for name, (aliases, _) in CASCADES.items()
        for alias in aliases
        # What a transaction does to the tags is the same for every vendor.
        for atomic in ([False, True] if alias == aliases[0] else [False])
    ],
)
def test_a_do_nothing_may_cascade_in_the_database(
    ledgers: None, alias: str, name: str, atomic: bool
) -> None:
    models = [Entry, Remark]
    assert_warm(models, alias)
    with transaction.atomic(using=alias) if atomic else nullcontext():
        CASCADES[name][1](alias)
        if atomic:
            assert [read(each, alias) for each in models] == [true(each, alias) for each in models]
    found = [read(each, alias) for each in models]
    assert found == [true(each, alias) for each in models]
    assert 1 not in found[1][2]


# Partitions


@pytest.fixture
def partitions(settings: Any, redis_url: str, db: None) -> Iterator[None]:
    """A table in two partitions, one of them in two again, with a row in each."""
    del redis_url, db
    settings.QUERYBUDGET = {"CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": "redis"}}
    run(
        "postgres",
        "CREATE TABLE relations_measured (id bigint PRIMARY KEY, value int) "
        "PARTITION BY RANGE (id)",
        "CREATE TABLE measured_low PARTITION OF relations_measured FOR VALUES FROM (0) TO (2)",
        "CREATE TABLE measured_high PARTITION OF relations_measured FOR VALUES FROM (2) TO (90) "
        "PARTITION BY RANGE (id)",
        "CREATE TABLE measured_inner PARTITION OF measured_high FOR VALUES FROM (2) TO (50)",
        "INSERT INTO relations_measured VALUES (1, 10), (2, 20)",
    )
    yield
    run("postgres", "DROP TABLE relations_measured", "DROP TABLE IF EXISTS measured_low")


@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE measured_low SET value = value + 1",
        'UPDATE ONLY "public"."measured_inner" SET value = value + 1',
        "UPDATE measured_high AS m SET value = value + 1 WHERE m.id = 2",
        "DELETE FROM measured_inner",
        "INSERT INTO measured_inner VALUES (3, 30)",
        "TRUNCATE measured_low",
        "TRUNCATE TABLE measured_high",
        "WITH o AS (DELETE FROM measured_low RETURNING *) INSERT INTO measured_inner SELECT 9, 1",
        "ALTER TABLE relations_measured DETACH PARTITION measured_low",
        "DROP TABLE measured_high",
    ],
)
def test_a_write_to_a_partition_is_one_to_its_table(partitions: None, sql: str) -> None:
    assert_warm([Measured], "postgres")
    before = read(Measured, "postgres")
    with transaction.atomic(using="postgres"):
        run("postgres", sql)
        assert read(Measured, "postgres") == true(Measured, "postgres")
        transaction.set_rollback(True, using="postgres")
    assert read(Measured, "postgres") == true(Measured, "postgres") == before
    run("postgres", sql)
    after = read(Measured, "postgres")
    assert after == true(Measured, "postgres") != before


# A default that calls a function


@pytest.fixture
def numbered(settings: Any, redis_url: str, db: None) -> Iterator[Callable[[Any], Any]]:
    """Makes a model with a ``db_default``; that of its table calls a function that writes."""
    del redis_url, db
    settings.QUERYBUDGET = {"CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": "redis"}}
    run(
        "postgres",
        "CREATE FUNCTION own_number() RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN UPDATE relations_ledger SET name = name || '!'; RETURN 7; END $$",
        "CREATE TABLE relations_numbered (id serial, number int DEFAULT own_number())",
        "INSERT INTO relations_ledger (id, name) VALUES (1, 'ledger')",
    )
    connections["postgres"].close()  # whose session a function may have changed

    def made(default: Any) -> Any:
        meta = type("Meta", (), {"app_label": "relations"})
        body = {
            "Meta": meta,
            "__module__": __name__,
            "number": models.IntegerField(db_default=default),
        }
        return type("Numbered", (models.Model,), body)

    yield made
    run("postgres", "DROP TABLE relations_numbered", "DROP FUNCTION own_number()")
    del apps.all_models["relations"]["numbered"]
    apps.clear_cache()
    tables.forget()


@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.parametrize(
    "default",
    [
        models.Func(function="own_number"),
        functions.Coalesce(RawSQL("own_number()", ()), 1),  # type: ignore[arg-type]
    ],
)
def test_a_default_may_call_a_function_that_writes(
    numbered: Callable[[Any], Any], default: Any
) -> None:
    model = numbered(default)
    assert_warm([Ledger], "postgres")
    model.objects.using("postgres").create()
    assert read(Ledger, "postgres") == true(Ledger, "postgres") != []
    assert "!" in str(true(Ledger, "postgres"))


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_default_that_can_write_nothing_renews_nothing(numbered: Callable[[Any], Any]) -> None:
    model = numbered(functions.Length(models.Value("seven")))
    run("postgres", "ALTER TABLE relations_numbered ALTER number SET DEFAULT length('seven')")
    assert_warm([Ledger], "postgres")
    model.objects.using("postgres").create()
    cache_stats(reset=True)
    read(Ledger, "postgres")
    assert cache_stats().hits == 4
