"""The database hook: on every connection, first, once, and without a trace on the host."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections
from django.db.backends.signals import connection_created

from django_querybudget import capture_queries
from django_querybudget.recording import hook
from jobs.models import Industry

pytestmark = pytest.mark.django_db(databases="__all__")


class Ear:
    """A watcher that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str | None]] = []
        self.pairs: list[tuple[str, str]] = []

    def before(self, sql: Any, params: Any, many: bool, connection: Any) -> str:
        self.heard.append(("before", connection.alias, None))
        return str(sql)

    def after(
        self, sql: Any, params: Any, many: bool, connection: Any,
        error: BaseException | None, noted: str, cursor: Any,
    ) -> None:  # fmt: skip
        self.heard.append(("after", connection.alias, error and type(error).__name__))
        self.pairs.append((str(sql), noted))


@pytest.fixture
def ear() -> Iterator[Ear]:
    watcher = Ear()
    hook.add_watcher(watcher)
    yield watcher
    hook.remove_watcher(watcher)


def test_it_is_on_every_alias_before_any_query() -> None:
    for database in connections.all():
        assert [wrapper is hook.observe for wrapper in database.execute_wrappers].count(True) <= 1
    with capture_queries():
        for database in connections.all():
            assert database.execute_wrappers[0] is hook.observe


def test_it_is_installed_once_however_often_it_is_asked_for() -> None:
    for _ in range(3):
        hook.install_everywhere()
        connection.ensure_connection()
    assert connection.execute_wrappers.count(hook.observe) == 1


def test_it_stands_at_index_0_and_sees_the_sql_before_others_rewrite_it() -> None:
    def comment(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        return execute(f"{sql} /* traceparent */", *args)

    with connection.execute_wrapper(comment), capture_queries() as log:
        Industry.objects.count()
    assert "traceparent" not in log.queries[0].sql


def test_the_blind_pop_of_another_wrapper_never_takes_ours_away() -> None:
    def other(execute: Callable[..., Any], *args: Any) -> Any:
        return execute(*args)

    connection.execute_wrappers.clear()
    with connection.execute_wrapper(other):
        hook.install_everywhere()
    assert list(connection.execute_wrappers) == [hook.observe]


def test_captures_that_end_in_another_order_are_removed_by_identity() -> None:
    first, second = capture_queries(), capture_queries()
    first_log = first.__enter__()
    second_log = second.__enter__()
    Industry.objects.count()
    first.__exit__(None, None, None)
    Industry.objects.count()
    second.__exit__(None, None, None)
    Industry.objects.count()
    assert (first_log.count, second_log.count) == (1, 2)


@pytest.mark.django_db(transaction=True)
def test_a_connection_opened_later_in_another_thread_is_seen() -> None:
    counts = []

    def work() -> None:
        with capture_queries() as log:
            Industry.objects.count()
        counts.append(log.count)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert counts == [1]


def test_a_watcher_hears_of_every_statement_before_and_after(ear: Ear) -> None:
    Industry.objects.count()
    Industry.objects.using("other").count()
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column")
    assert ear.heard[:4] == [
        ("before", "default", None),
        ("after", "default", None),
        ("before", "other", None),
        ("after", "other", None),
    ]
    assert ear.heard[5][2] in {"OperationalError", "ProgrammingError"}


def test_adding_a_watcher_twice_adds_it_once(ear: Ear) -> None:
    hook.add_watcher(ear)
    Industry.objects.count()
    assert len(ear.heard) == 2


def test_a_defect_of_ours_never_becomes_the_hosts(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*args: Any) -> None:
        raise ZeroDivisionError

    class BrokenWatcher:
        before = after = broken

    watcher = BrokenWatcher()
    hook.add_watcher(watcher)  # type: ignore[arg-type]
    hook.add_recorder(broken)
    try:
        with caplog.at_level(logging.ERROR, "django_querybudget"):
            assert Industry.objects.count() == 0
    finally:
        hook.remove_watcher(watcher)  # type: ignore[arg-type]
        hook.remove_recorder(broken)
    assert "BrokenWatcher.broken" in caplog.text or "broken of" in caplog.text
    assert "could not record a query" in caplog.text


def test_what_before_notes_is_told_after_that_very_statement(ear: Ear) -> None:
    """A wrapper of the host's sends a statement of its own before the one that it is asked for."""

    def auditing(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "audit" not in sql:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 /* audit */")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(auditing):
        Industry.objects.count()
    inner, outer = ear.pairs
    assert inner == ("SELECT 1 /* audit */",) * 2
    assert outer[0] == outer[1]
    assert "COUNT" in outer[0]


def test_one_broken_watcher_keeps_no_other_listener_from_hearing(ear: Ear) -> None:
    class BrokenWatcher:
        def before(self, *args: Any) -> None:
            raise ZeroDivisionError

        def after(self, *args: Any) -> None:
            raise ZeroDivisionError

    watcher = BrokenWatcher()
    hook.remove_watcher(ear)
    hook.add_watcher(watcher)
    hook.add_watcher(ear)
    try:
        with capture_queries() as log:
            Industry.objects.count()
    finally:
        hook.remove_watcher(watcher)
    assert [moment for moment, *_ in ear.heard] == ["before", "after"]
    assert log.count == 1


def test_a_failed_query_is_not_kept_alive_by_our_frame() -> None:
    try:
        with capture_queries(), connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")
    except DatabaseError as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        [ours] = [frame for frame in frames if frame.f_code is hook.observe.__code__]
        assert ours.f_locals["error"] is None


def test_starting_django_with_the_app_opens_no_connection() -> None:
    script = (
        "import django; django.setup()\n"
        "from django.db import connections\n"
        "from django_querybudget.recording import hook\n"
        "assert all(c.connection is None for c in connections.all())\n"
        "print('clean')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("clean", "")


@pytest.mark.django_db
def test_a_recorder_that_raises_takes_no_query_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*statement: Any) -> None:
        raise ZeroDivisionError

    hook.add_recorder(broken)
    try:
        with capture_queries() as log:
            Industry.objects.count()
    finally:
        hook.remove_recorder(broken)
    assert log.count == 1
    assert "ZeroDivisionError" in caplog.text


def nothing(*statement: Any) -> None:
    """A recorder."""


def test_a_recorder_is_of_its_context_until_it_is_removed() -> None:
    def other(*statement: Any) -> None:
        """Another one."""

    assert not hook.has_recorder(nothing)
    hook.add_recorder(nothing)
    hook.add_recorder(other)
    assert hook.has_recorder(nothing)
    assert hook.has_recorder(other)
    hook.remove_recorder(nothing)
    assert not hook.has_recorder(nothing)
    assert hook.has_recorder(other)
    hook.remove_recorder(other)
    assert not hook.has_recorder(other)


def test_the_librarys_own_statements_are_recorded_by_nobody() -> None:
    assert not hook.is_unobserved()
    with capture_queries() as log:
        with hook.unobserved():
            assert hook.is_unobserved()
            with hook.unobserved():
                Industry.objects.count()
            assert hook.is_unobserved()
            Industry.objects.count()
        assert log.count == 0
        assert not hook.is_unobserved()
        Industry.objects.count()
        with pytest.raises(ZeroDivisionError), hook.unobserved():
            raise ZeroDivisionError
        Industry.objects.count()
    assert log.count == 2


def test_a_watcher_that_was_removed_hears_nothing_and_the_others_do(ear: Ear) -> None:
    other = Ear()
    hook.add_watcher(other)
    hook.add_watcher(other)  # twice is once
    Industry.objects.count()
    assert len(other.heard) == len(ear.heard) == 2
    hook.remove_watcher(other)
    Industry.objects.count()
    assert len(other.heard) == 2
    assert len(ear.heard) == 4


def test_where_nobody_listens_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "_watchers", ())

    def execute(*statement: Any) -> Any:
        return statement

    assert hook.observe(execute, "SELECT 1", None, False, {}) == ("SELECT 1", None, False, {})


@pytest.mark.parametrize("watchers", [True, False])
def test_who_listens_alone_is_told(monkeypatch: pytest.MonkeyPatch, watchers: bool) -> None:
    monkeypatch.setattr(hook, "_watchers", ())
    told: list[Any] = []
    ear = Ear()
    if watchers:
        hook.add_watcher(ear)
    else:
        hook.add_recorder(record := lambda *statement: told.append(statement))
    started = time.perf_counter()
    Industry.objects.count()
    took = time.perf_counter() - started
    if watchers:
        assert len(ear.heard) == 2
    else:
        hook.remove_recorder(record)
        ((_, _, _, _, when, duration, error, _),) = told
        assert started <= when <= started + took
        assert 0 < duration <= took
        assert error is None


def test_who_is_told_of_an_opened_connection_first(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def late(**_: Any) -> None:
        told.append("late")

    def early(**_: Any) -> None:
        told.append("early")

    connection_created.connect(late)
    try:
        for _ in range(2):
            hook.when_opened(early, "tests.early")
            assert connection_created.receivers[0][0][0] == "tests.early"
        connection_created.send(sender=type(connection), connection=connection)
        assert told == ["early", "late"]
        connection_created.connect(late, dispatch_uid="tests.again")  # and stays before others
        connection_created.send(sender=type(connection), connection=connection)
        assert told == ["early", "late", "early", "late", "late"]
    finally:
        connection_created.disconnect(late)
        connection_created.disconnect(dispatch_uid="tests.again")
        connection_created.disconnect(dispatch_uid="tests.early")


def test_who_is_told_need_not_be_held() -> None:
    told: list[int] = []
    hook.when_opened(lambda **_: told.append(1), "tests.unheld")
    gc.collect()
    try:
        connection_created.send(sender=type(connection), connection=connection)
    finally:
        connection_created.disconnect(dispatch_uid="tests.unheld")
    assert told == [1]


def test_it_listens_for_connections_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(hook, "when_opened", lambda *how: asked.append(how))
    monkeypatch.setattr(hook, "_listening", False)
    hook.install_everywhere()
    hook.install_everywhere()
    ((receiver, uid),) = asked
    assert uid
    wrappers = connection.execute_wrappers
    before = list(wrappers)
    wrappers.clear()
    receiver(connection=connection)
    assert wrappers == [hook.observe]
    wrappers[:] = before


def test_it_makes_no_connection_to_stand_on() -> None:
    made: list[int] = []

    def work() -> None:
        hook.install_everywhere()
        made.append(len(connections.all(initialized_only=True)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert made == [0]
