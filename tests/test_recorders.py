"""What a recorder writes of each statement, and whose line it says it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.template import Context, Template
from psycopg import sql as psycopg_sql

from django_querybudget import capture_queries
from django_querybudget.cache.sessions.session import session_of
from django_querybudget.capture import Recording
from django_querybudget.stacks import walking
from jobs.models import Industry

pytestmark = pytest.mark.django_db(databases=["default", "postgres"])


@pytest.fixture(autouse=True)
def _sessions_known() -> Iterator[None]:
    """Let what cannot be read here make no session unknown to the cache's tests."""
    yield
    for each in connections.all(initialized_only=True):
        session_of(each).lost = ""


def ask() -> None:
    """Ask without Django's compiler: the caller of ``cursor.execute()`` is this line."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_the_caller_of_a_cursor_is_the_origin() -> None:
    with capture_queries() as log:
        ask()
    (record,) = log.queries
    assert record.origin is not None
    assert record.origin.function == "ask"
    assert log.raw[0].trail.codes[0] is ask.__code__


def test_the_caller_of_a_cursor_can_be_left_out(settings: Any) -> None:
    ignored = {"CALLERS": [f"{__name__}.ask"]}
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "IGNORE_QUERIES": ignored}
    with capture_queries() as log:
        ask()
        Industry.objects.count()
    assert log.count == 1


def test_what_another_tool_asks_for_itself_is_not_recorded() -> None:
    silk: dict[str, Any] = {}
    source = "def explain(cursor):\n    cursor.execute('SELECT 2')\n"
    exec(compile(source, "/srv/lib/site-packages/silk/sql.py", "exec"), silk)  # noqa: S102 - the test's own
    with capture_queries() as log, connection.cursor() as cursor:
        silk["explain"](cursor)
        ask()
    assert [record.sql for record in log] == ["SELECT 1"]


def test_what_tells_queries_of_a_line_apart_is_inside_of_it() -> None:
    """The template that calls the function is outside: it is the trail's to tell it apart."""
    with capture_queries() as log:
        ask()
        Template("{{ ask }}").render(Context({"ask": ask}))
    assert log.raw[0].inside == log.raw[1].inside


@pytest.mark.parametrize("origins", [False, True])
def test_without_causes_nothing_of_the_stack_is_kept(
    origins: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with Recording(origins=origins, causes=False) as log:
        Industry.objects.count()
    assert log.evidence is None
    (raw,) = log.raw
    assert (raw.error, raw.trail, raw.inside) == (None, None, 0)
    assert (raw.origin is not None) is origins
    assert not caplog.records


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_the_whole_way_is_kept_where_it_is_shown(settings: Any, verbosity: int) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "VERBOSITY": verbosity}
    with capture_queries() as log:
        Industry.objects.count()
    assert (log.raw[0].trail.beyond is not None) is (verbosity == 2)


def test_serializers_that_were_imported_since_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from rest_framework.serializers import Serializer

    monkeypatch.setattr(walking, "_to_representation", None)
    Recording(causes=False)
    assert walking._to_representation is Serializer.to_representation.__code__


def test_texts_that_repeat_are_noted() -> None:
    recording = Recording(threshold=3)
    noted: list[tuple[str, int]] = []
    note_repeat = recording.log.evidence.note_repeat

    def noting(raw: Any, same: list[Any], frame: Any) -> None:
        noted.append((raw.sql, len(same)))
        note_repeat(raw, same, frame)

    recording.log.evidence.note_repeat = noting
    with recording as log:
        for _ in range(4):
            list(Industry.objects.all())
        Industry.objects.count()
    listing, counting = (log.raw[at].sql for at in (0, 4))
    assert noted == [(listing, 3), (listing, 4)]
    assert {text: len(same) for text, same in log.evidence.texts.items()} == {
        listing: 4,
        counting: 1,
    }
    assert log.evidence.sources.keys() == {listing}  # who iterates its rows stands on the stack
    assert len(log.evidence.loads) == 1


@pytest.mark.parametrize("statement", [b"SELECT 1", psycopg_sql.SQL("SELECT {}").format(1)])
def test_what_is_no_text_is_recorded_as_text(statement: Any) -> None:
    with capture_queries() as log, connections["postgres"].cursor() as cursor:
        cursor.execute(statement)
    assert [record.sql for record in log] == ["SELECT 1"]


class Odd:
    """A statement that says what it is by its ``str()`` alone."""

    def __str__(self) -> str:
        return "SELECT odd"


def test_what_cannot_tell_its_text_is_recorded_as_it_shows_itself() -> None:
    recording = Recording()
    with recording as log, pytest.raises(TypeError), connection.cursor() as cursor:
        cursor.execute(Odd())
    assert [record.sql for record in log] == ["SELECT odd"]
    assert log.queries[0].error is TypeError


def test_parameters_are_kept_as_they_were_sent() -> None:
    with capture_queries() as log, connection.cursor() as cursor:
        given, named = [1], {"a": 1}
        cursor.execute("SELECT %s", given)
        cursor.execute("SELECT %(a)s", named)
        cursor.execute("SELECT %s", (1,))
        rows = [("a",), ("b",)]
        for sent in (rows, iter(rows), tuple(rows)):
            cursor.executemany("UPDATE jobs_industry SET name = %s WHERE id = 0", sent)
        given[0] = named["a"] = 2
    assert [record.params for record in log] == [
        (1,),
        {"a": 1},
        (1,),
        rows,
        None,
        tuple(rows),
    ]
    assert [record.many for record in log] == [False, False, False, True, True, True]


def test_past_the_most_that_is_kept_statements_are_counted(settings: Any) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "MAX_RECORDS": 2}
    with capture_queries() as log:
        for _ in range(3):
            Industry.objects.count()
    assert (len(log.raw), log.count, log.dropped) == (2, 3, 1)
    assert sum(len(same) for same in log.evidence.texts.values()) == 2


def test_once_ended_nothing_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    recording = Recording(using="default")
    with recording:
        Industry.objects.count()
        Industry.objects.using("postgres").count()
        recording.close()
        Industry.objects.count()
    assert [record.alias for record in recording.log] == ["default"]
    assert not caplog.records  # a recorder that fails is told of, and the query goes on
