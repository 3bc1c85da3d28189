"""The same SQL is not the same question: search paths, roles, variables, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.backends.signals import connection_created
from django.db.models import CharField, Value
from django.db.models.functions import ExtractHour, TruncDate
from django.utils import timezone, translation
from django.utils.functional import lazy
from django.utils.translation import get_language, gettext_lazy
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql as psycopg_sql

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_queryset
from jobs.models import Industry

pytestmark = [pytest.mark.usefixtures("own_cache")]
on_postgres = pytest.mark.django_db(transaction=True, databases=["postgres"])


@pytest.fixture(autouse=True)
def own_cache(settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "default"}}


def run(sql: Any, params: Any = None, alias: str = "postgres") -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)


def past_the_hook(sql: str) -> Any:
    """Run a statement on a cursor of the driver's own."""
    connections["postgres"].ensure_connection()
    return connections["postgres"].connection.execute(sql)


@pytest.fixture
def tenants(transactional_db: None) -> Iterator[None]:
    """Two schemas, each with a table of one row that holds the schema's name."""
    del transactional_db
    for name in ("t1", "t2"):
        run(f"CREATE SCHEMA {name}")
        run(f"CREATE TABLE {name}.jobs_industry (LIKE public.jobs_industry)")
        run(f"INSERT INTO {name}.jobs_industry (id, name) VALUES (1, '{name}')")
    run("INSERT INTO public.jobs_industry (id, name) VALUES (1, 'public')")
    connections["postgres"].close()
    yield
    connections["postgres"].close()
    for name in ("t1", "t2"):
        run(f"DROP SCHEMA {name} CASCADE")


def read() -> str:
    return cached_queryset(Industry.objects.using("postgres"), timeout=60).get(pk=1).name


@cached_queryset(timeout=60)
def industries() -> Any:
    return Industry.objects.using("postgres")


def read_decorated() -> str:
    return next(iter(industries())).name


def read_plainly() -> str:
    return str(past_the_hook("SELECT name FROM jobs_industry").fetchone()[0])


def hits_of(reading: Any = read) -> int:
    """Read twice, each time what the database says, and return the hits."""
    cache_stats(reset=True)
    assert reading() == read_plainly()
    assert reading() == read_plainly()
    return cache_stats().hits


SETTING = [
    "SET search_path TO {}",
    "set  search_path={}",
    "SET SESSION search_path = {}, public",
    "SET SCHEMA '{}'",
    "SELECT set_config('search_path', '{}', false)",
    "SELECT pg_catalog.set_config('search_path', '{}', FALSE);",
    "SELECT set_config('app.x', '1', false), set_config('search_path', '{}', false) AS p",
    "/* tenant */ SET search_path TO {} -- of the request",
    "SELECT 1; SET search_path TO {}",
]


@on_postgres
@pytest.mark.parametrize("reading", [read, read_decorated])
def test_each_search_path_has_entries_of_its_own(tenants: None, reading: Any) -> None:
    reading()  # a decorated function's first call is as the plain form
    for form in SETTING:
        for name in ("t1", "t2", "t1"):
            run(form.format(name))
            assert reading() == name, form
            assert hits_of(reading) > 0, form
    run("RESET search_path")
    assert reading() == "public"
    assert hits_of(reading) == 2


@on_postgres
def test_values_that_are_parameters_are_known(tenants: None) -> None:
    forms: list[tuple[str, Any]] = [
        ("SET search_path TO %s", lambda name: [name]),
        ("SELECT set_config('search_path', %s, false)", lambda name: [name]),
        ("SELECT set_config(%s, %s, %s)", lambda name: ["search_path", name, False]),
        ("SELECT set_config(%s, %s, false)", lambda name: ["SEARCH_PATH", name]),
    ]
    for form, params in forms:
        for name in ("t1", "t2", "t1"):
            run(form, params(name))
            assert hits_of() > 0, form
            assert read() == name, form


@on_postgres
def test_sql_that_is_an_object_of_the_drivers_is_read(tenants: None) -> None:
    for name in ("t1", "t2"):
        run(psycopg_sql.SQL("SET search_path TO {}").format(psycopg_sql.Identifier(name)))
        assert hits_of() == 1
        assert read() == name


NOT_UNDERSTOOD = [
    "SELECT set_config(lower('SEARCH_PATH'), 't2', false)",
    "SELECT set_config('search_path', 't' || '2', false)",
    "SELECT set_config('search_path', name, false) FROM t2.jobs_industry",
    "WITH x AS (SELECT set_config('search_path', 't2', false)) SELECT * FROM x",
    "DO $$ BEGIN SET search_path TO t2; END $$",
    "SET search_path TO E't\\x32'",
]


@on_postgres
def test_what_is_not_understood_bypasses_until_the_session_is_as_new(tenants: None) -> None:
    for statement in NOT_UNDERSTOOD:
        run("SET search_path TO t1")
        assert hits_of() > 0
        run(statement)
        assert read() == "t2", statement
        assert hits_of() == 0, statement
        assert any("session state unknown" in reason for reason in cache_stats().bypasses)
        run("DISCARD ALL")
        assert read() == "public"
        assert hits_of() > 0


@on_postgres
def test_a_new_connection_makes_the_state_known(tenants: None) -> None:
    run("DO $$ BEGIN SET search_path TO t2; END $$")
    assert hits_of() == 0
    connections["postgres"].close()
    assert read() == "public"
    assert hits_of() == 2


HARMLESS = [
    "SET statement_timeout = 10000",
    "SET LOCAL lock_timeout = 10000",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET application_name TO 'web'",
    "SELECT set_config('statement_timeout', '9s', false)",
    "SHOW search_path",
    "DISCARD PLANS",
]


@on_postgres
def test_what_changes_no_answer_changes_no_key(tenants: None) -> None:
    assert hits_of() == 1
    for statement in HARMLESS:
        run(statement)
        assert hits_of() == 2, statement
    run("CREATE TEMP TABLE some_rows (id int)")  # a schema change, which renews everything
    assert hits_of() == 1


@on_postgres
def test_a_temporary_table_hides_the_models(tenants: None) -> None:
    assert hits_of() == 1
    run("CREATE TEMPORARY TABLE jobs_industry AS SELECT 1 AS id, 'hidden' AS name")
    assert read() == "hidden"
    assert hits_of() == 0
    run("DISCARD TEMP")
    assert read() == "public"
    assert hits_of() == 2


@on_postgres
def test_a_role_is_part_of_the_question(tenants: None) -> None:
    run("DROP ROLE IF EXISTS querybudget_reader")
    run("CREATE ROLE querybudget_reader")
    try:
        run("GRANT USAGE ON SCHEMA public, t1 TO querybudget_reader")
        run("GRANT SELECT ON t1.jobs_industry, public.jobs_industry TO querybudget_reader")
        run("CREATE SCHEMA querybudget_reader AUTHORIZATION querybudget_reader")
        run("CREATE TABLE querybudget_reader.jobs_industry AS SELECT 1 AS id, 'own' AS name")
        run("GRANT SELECT ON querybudget_reader.jobs_industry TO querybudget_reader")
        assert read() == "public"
        run("SET ROLE querybudget_reader")  # "$user" in the search path
        assert read() == "own"
        assert hits_of() == 2
        run("SET ROLE NONE")
        assert read() == "public"
        run("SET SESSION AUTHORIZATION querybudget_reader")
        assert read() == "own"
        run("RESET SESSION AUTHORIZATION")
        assert read() == "public"
    finally:
        run("DROP OWNED BY querybudget_reader CASCADE")
        run("DROP ROLE querybudget_reader")


@on_postgres
def test_local_values_end_with_the_transaction(tenants: None) -> None:
    for name in ("t1", "t2"):
        with transaction.atomic("postgres"):
            run(f"SET LOCAL search_path TO {name}")
            assert read() == name
            with suppress(ZeroDivisionError), transaction.atomic("postgres"):
                run("SET LOCAL search_path TO public")
                assert read() == "public"
                raise ZeroDivisionError
            assert read() == name
        assert read() == "public"
    assert hits_of() == 2


@on_postgres
def test_a_value_set_in_a_transaction_is_not_known_after_it(tenants: None) -> None:
    with transaction.atomic("postgres"):
        run("SET search_path TO t1")
        assert read() == "t1"
    assert read() == "t1"
    assert hits_of() == 0
    with suppress(ZeroDivisionError), transaction.atomic("postgres"):
        run("SET search_path TO t2")
        assert read() == "t2"
        raise ZeroDivisionError
    assert read() == "t1"
    assert hits_of() == 0
    run("SET search_path TO t2")
    assert hits_of() == 1


@on_postgres
def test_a_statement_that_failed_changes_nothing(tenants: None) -> None:
    run("SET search_path TO t1")
    with suppress(DatabaseError):
        run("SET search_path = t2; SELECT 1/0")
    assert read() == "t1"
    assert hits_of() == 2


@on_postgres
def test_a_read_that_switches_the_session_is_not_stored(tenants: None) -> None:
    @cached_queryset(timeout=60)
    def of_tenant() -> Any:
        run("SET search_path TO t2")
        return Industry.objects.using("postgres")

    list(of_tenant())
    run("SET search_path TO t1")
    cache_stats(reset=True)
    assert next(iter(of_tenant())).name == "t2"
    assert cache_stats().stores == 0


@on_postgres
def test_a_write_in_one_session_is_seen_in_all(tenants: None) -> None:
    run("SET search_path TO t1, public")
    assert hits_of() == 1
    run("SET search_path TO t2, public")
    assert hits_of() == 1
    run("UPDATE t1.jobs_industry SET name = 'renamed'")
    run("SET search_path TO t1, public")
    assert read() == "renamed"


@on_postgres
def test_the_projects_own_callable_joins_the_key(tenants: None, settings: Any) -> None:
    told: list[Any] = ["t1"]

    def tell(connection: Any) -> Any:
        if told[0] == "raise":
            raise ZeroDivisionError
        return told[0]

    settings.QUERYBUDGET = {"CACHE": {"SESSION": tell}}
    for name in ("t1", "t2", "t1"):
        told[0] = name
        past_the_hook(f"SET search_path TO {name}")
        assert read() == name
        assert hits_of() == 2
    for wrong in (7, "raise"):
        told[0] = wrong
        assert hits_of() == 0
        assert any(reason.startswith("SESSION") for reason in cache_stats().bypasses)


@on_postgres
def test_a_connection_that_names_its_schema_is_believed(
    tenants: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection: Any = connections["postgres"]
    for name in ("t1", "t2", "t1"):
        monkeypatch.setattr(connection, "schema_name", name, raising=False)
        past_the_hook(f"SET search_path TO {name}")
        assert read() == name
        assert hits_of() == 2
    run("SET search_path TO t2")  # not what its attribute says
    assert read() == "t2"
    assert hits_of() == 0


@on_postgres
def test_options_of_the_connection_are_part_of_the_question(tenants: None) -> None:
    @contextmanager
    def connected(**options: Any) -> Iterator[None]:
        connection = connections["postgres"]
        before = connection.settings_dict
        connection.close()
        connection.settings_dict = {**before, "OPTIONS": {**before["OPTIONS"], **options}}
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict = before

    for name in ("t1", "t2", "t1"):
        with connected(options=f"-c search_path={name}"):
            assert read() == name
            assert hits_of() == 2
    assert read() == "public"


@on_postgres
def test_what_a_receiver_sets_when_a_connection_is_opened_is_seen(tenants: None) -> None:
    tenant = "t1"

    def enter(connection: Any, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {tenant}")

    connection_created.connect(enter)
    try:
        for tenant in ("t1", "t2", "t1"):  # the receiver reads it
            connections["postgres"].close()
            del connections["postgres"]  # as in a new thread: no wrapper is on it yet
            assert read() == tenant
            assert hits_of() > 0
    finally:
        connection_created.disconnect(enter)
        connections["postgres"].close()


@on_postgres
def test_a_connection_from_a_pool_is_not_known_as_others_left_it(tenants: None) -> None:
    connection = connections["postgres"]
    run("SET search_path TO t1")
    assert hits_of() > 0
    # What Django does for a connection that comes from a pool, with what was set in it before.
    connection_created.send(sender=type(connection), connection=connection)
    assert read() == "t1"
    assert hits_of() == 0
    run("SET search_path TO t2")
    assert read() == "t2"
    assert hits_of() > 0


@on_postgres
def test_ignored_variables_are_in_no_key(tenants: None, settings: Any) -> None:
    run("SET app.request = 'a'")
    assert hits_of() == 1
    run("SET app.request = 'b'")
    assert hits_of() == 1
    settings.QUERYBUDGET = {"CACHE": {"IGNORED_VARIABLES": ["App.Request"]}}
    connections["postgres"].close()
    assert hits_of() > 0
    run("SET app.request = 'c'")
    assert hits_of() == 2


@on_postgres
def test_a_function_of_the_projects_own_may_set_what_it_likes(tenants: None, settings: Any) -> None:
    for name, setting in (("qb_enter", "t2"), ("qb_harmless", "t1")):
        run(
            f"CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM set_config('search_path', '{setting}', false); END $$"
        )
    settings.QUERYBUDGET = {"CACHE": {"FUNCTIONS": ["QB_harmless"]}}
    try:
        run("SET search_path TO t1, public")
        assert hits_of() > 0
        run("SELECT public.qb_harmless()")
        assert hits_of() > 0
        run("SELECT public.qb_enter()")
        assert read() == "t2"
        assert hits_of() == 0
        assert "session state unknown: function qb_enter" in cache_stats().bypasses
    finally:
        run("DISCARD ALL")
        run("DROP FUNCTION qb_enter()")
        run("DROP FUNCTION qb_harmless()")


TENANTS = st.sampled_from(["t1", "t2", "public"])
STEPS = st.recursive(
    st.one_of(
        st.tuples(st.just("set"), TENANTS),
        st.tuples(st.just("local"), TENANTS),
        st.tuples(st.just("config"), TENANTS, st.booleans()),
        st.just(("reset",)),
        st.just(("read",)),
        st.just(("write",)),
        st.just(("reconnect",)),
    ),
    lambda inner: st.tuples(
        st.just("atomic"), st.lists(inner, min_size=1, max_size=5), st.booleans()
    ),
    max_leaves=12,
)


class Undone(Exception):
    pass


def perform(steps: Any) -> None:
    for what, *how in steps:
        if what == "set":
            run(f"SET search_path TO {how[0]}")
        elif what == "local":
            run(f"SET LOCAL search_path TO {how[0]}")
        elif what == "config":
            run("SELECT set_config('search_path', %s, %s)", how)
        elif what == "reset":
            run("RESET search_path")
        elif what == "write":
            run("UPDATE jobs_industry SET name = split_part(name, '+', 1) || '+' || random()")
        elif what == "reconnect":
            if not connections["postgres"].in_atomic_block:
                connections["postgres"].close()
                run("SELECT 1")
        elif what == "atomic":
            with suppress(Undone), transaction.atomic("postgres"):
                perform(how[0])
                if how[1]:
                    raise Undone
        assert read() == read_plainly()
        assert read() == read_plainly()


@on_postgres
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_no_order_of_changes_gives_another_tenants_row(tenants: None, steps: Any) -> None:
    connections["postgres"].close()
    run("SELECT 1")
    perform(steps)


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_use_of_another_database_goes_to_the_database() -> None:
    def reading() -> str:
        return cached_queryset(Industry.objects.using("mariadb"), timeout=60).get(pk=1).name

    own = connections["mariadb"].settings_dict["NAME"]
    run("INSERT INTO jobs_industry (id, name) VALUES (1, 'own')", alias="mariadb")
    run("CREATE DATABASE IF NOT EXISTS querybudget_elsewhere", alias="mariadb")
    try:
        run(
            "CREATE TABLE querybudget_elsewhere.jobs_industry AS SELECT 1 AS id, 'other' AS name",
            alias="mariadb",
        )
        assert (reading(), reading()) == ("own", "own")
        run("USE querybudget_elsewhere", alias="mariadb")
        assert reading() == "other"
        run(f"USE `{own}`", alias="mariadb")
        cache_stats(reset=True)
        assert reading() == "own"
        run("SET @user = 5, SESSION lock_wait_timeout = 7, NAMES utf8mb4", alias="mariadb")
    finally:
        run(f"USE `{own}`", alias="mariadb")
        run("DROP DATABASE querybudget_elsewhere", alias="mariadb")
    assert cache_stats().hits == 1


@pytest.mark.django_db(transaction=True, databases=["mariadb", "default"])
def test_a_write_after_use_renews_every_database() -> None:
    own = connections["mariadb"].settings_dict["NAME"]

    def reading() -> int:
        return cached_queryset(Industry.objects.using("default"), timeout=60).count()

    try:
        for database, hits in ((own, 1), ("mysql", 0)):
            run(f"USE `{database}`", alias="mariadb")
            reading()
            cache_stats(reset=True)
            run(f"UPDATE `{own}`.jobs_industry SET name = 'a' WHERE id = 1", alias="mariadb")
            reading()
            assert cache_stats().hits == hits
    finally:
        connections["mariadb"].close()


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_a_sql_mode_is_part_of_the_question_on_mariadb() -> None:
    def reading() -> None:
        list(cached_queryset(Industry.objects.using("mariadb"), timeout=60))

    reading()
    cache_stats(reset=True)
    run("SET @user = 5, SESSION lock_wait_timeout = 7, sql_auto_is_null = 0", alias="mariadb")
    run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", alias="mariadb")
    reading()
    assert cache_stats().hits == 1
    run("SET GLOBAL max_connections = 200, @@session.sql_mode = 'ANSI_QUOTES'", alias="mariadb")
    reading()
    assert (cache_stats().hits, cache_stats().misses) == (1, 1)
    connections["mariadb"].close()


@pytest.mark.django_db(transaction=True, databases=["default"])
def test_a_pragma_is_part_of_the_question_on_sqlite() -> None:
    Industry.objects.create(name="Film")

    def found() -> int:
        return cached_queryset(Industry.objects.filter(name__contains="film"), timeout=60).count()

    assert found() == 1
    run("PRAGMA case_sensitive_like = ON", alias="default")
    assert found() == 0
    run("PRAGMA foreign_keys", alias="default")
    cache_stats(reset=True)
    assert found() == 0
    assert cache_stats().hits == 1
    run("PRAGMA case_sensitive_like = OFF", alias="default")
    assert found() == 1


@pytest.mark.django_db(transaction=True, databases=["default"])
def test_language_and_time_zone_are_in_the_sql_of_the_plain_form() -> None:
    rows = CustomUser.objects.create_user(
        username="ada", email="ada@example.com", password="secret",
        date_joined=datetime(2026, 1, 1, 23, 30, tzinfo=UTC),
    )  # fmt: skip
    assert rows.pk
    word = Value(gettext_lazy("Monday"), output_field=CharField())
    queries: list[Any] = [
        lambda: CustomUser.objects.annotate(day=TruncDate("date_joined")).values_list("day"),
        lambda: CustomUser.objects.annotate(hour=ExtractHour("date_joined")).values_list("hour"),
        lambda: CustomUser.objects.filter(date_joined__date=date(2026, 1, 2)).values_list("pk"),
        lambda: CustomUser.objects.datetimes("date_joined", "day"),
        lambda: CustomUser.objects.annotate(word=word).values_list("word"),
        lambda: CustomUser.objects.filter(username=lazy(get_language, str)()).values_list("pk"),
    ]
    for query in queries:
        found = []
        for zone, language in (("UTC", "en"), ("Asia/Tokyo", "de"), ("UTC", "en")):
            with timezone.override(zone), translation.override(language):
                assert list(cached_queryset(query(), timeout=60)) == list(query())
                found.append(list(cached_queryset(query(), timeout=60)))
        assert found[0] == found[2]
