"""What Django itself sends renews what it changes, and no more."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.postgres import aggregates as postgres_aggregates
from django.contrib.postgres import search
from django.db import connections, models, transaction
from django.db.models import F, Value, aggregates, functions
from django.db.models.functions import Cast, Extract, Trunc
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache.tables import tables
from django_querybudget.cache.writing.forms import form_of
from jobs.models import Job
from tests.cache import world
from tests.cache.reads import READS, answer
from tests.cache.writes import KINDS, Kind

BASES = (Cast, Extract, Trunc, models.Aggregate)
# Kinds of writes in which the ORM alone writes statements.
OF_THE_ORM = [
    kind
    for kind in KINDS.values()
    if not re.search(r"execute|\.raw\(", inspect.getsource(kind.run))
]


def sent(alias: str, run: Any) -> list[str]:
    texts: list[str] = []

    def note(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        texts.append(sql)
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(note):
        run(alias)
    return texts


def undone(kind: Kind) -> Any:
    """The kind's write, rolled back."""

    def run(alias: str) -> None:
        with transaction.atomic(using=alias):
            kind.run(alias)
            transaction.set_rollback(True, using=alias)

    return run


def test_a_read_of_the_orm_writes_nothing(vendor_alias: str, db: None) -> None:
    del db
    world.fill(vendor_alias)
    connection = connections[vendor_alias]
    with CaptureQueriesContext(connection):
        for read in READS.values():
            for sql in sent(
                vendor_alias, lambda alias, read=read: answer(read, lambda q: q, alias)
            ):
                assert form_of(sql, connection) is None, sql


def test_a_write_of_the_orm_renews_its_own_table(vendor_alias: str, db: None) -> None:
    del db
    world.fill(vendor_alias)
    connection = connections[vendor_alias]
    known = tables()
    seen = 0
    for kind in OF_THE_ORM:
        if connection.vendor not in kind.vendors or not kind.in_atomic:
            continue
        for sql in sent(vendor_alias, undone(kind)):
            form = form_of(sql, connection)
            named = re.match(
                r"(?:INSERT (?:OR )?(?:IGNORE )?INTO|UPDATE|DELETE FROM) [\"`]([^\"`]+)", sql
            )
            if named is None:
                assert form is None, sql
                continue
            seen += 1
            own = named[1]
            allowed = {own}
            if sql.startswith("DELETE"):
                allowed |= known.deleted_with(own)
            assert form is not None, sql
            assert not form.everything, sql
            assert not form.unmodelled, sql
            written = {table.name for table in form.tables}
            written |= {form.target.name} if form.target else set()
            assert own in written, sql
            assert written <= allowed, sql
    assert seen > 60


def expressions(vendor: str) -> Iterator[Any]:
    """Every function and aggregate that Django has, in as many arguments as it takes."""
    modules = [functions, aggregates]
    if vendor == "postgresql":
        modules += [postgres_aggregates, search]
    arguments = [
        (), ("title",), ("budget",), ("created_at",), ("title", Value(1)), ("budget", "budget"),
        ("title", Value("a")), ("created_at", "closed_at"), ("title", Value(1), Value(2)),
        ("title", Value("a"), Value("b")), ("title", Value(3), Value("a")),
    ]  # fmt: skip
    for module in modules:
        for name, made in inspect.getmembers(module, inspect.isclass):
            if not issubclass(made, models.Expression) or made in BASES:
                continue
            for given in arguments:
                try:
                    yield name, made(*given)
                except Exception:  # noqa: S112  # of others, or on another vendor
                    continue
    yield "Cast", Cast("budget", models.TextField())
    yield "Extract", Extract("created_at", "year")
    yield "Trunc", Trunc("created_at", "month")


@pytest.mark.filterwarnings("ignore")
def test_no_function_of_django_writes(vendor_alias: str, db: None) -> None:
    del db
    connection = connections[vendor_alias]
    names = set()
    for name, expression in expressions(connection.vendor):
        try:
            queryset = Job.objects.using(vendor_alias).annotate(x=expression).values("x")
            sql, _ = queryset.query.get_compiler(vendor_alias).as_sql()
        except Exception:  # noqa: S112  # of others, or on another vendor
            continue
        if "None(" in sql:
            continue  # a base class, which names no function
        names.add(name)
        assert form_of(sql, connection) is None, sql
        filtered = Job.objects.using(vendor_alias).values("pk").filter(pk__gt=F("pk"))
        updated = filtered.query.chain(models.sql.UpdateQuery)
        updated.add_update_fields([(Job._meta.get_field("title"), None, Value("a"))])
        form = form_of(updated.get_compiler(vendor_alias).as_sql()[0], connection)
        assert form is not None
        assert not form.everything
    assert len(names) > 70
