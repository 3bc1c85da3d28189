"""Who is told of what was measured: one that raises, hangs or cannot be had costs nobody else."""

from __future__ import annotations

import logging
import re
import socket
import textwrap
import threading
from array import array
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.db import DatabaseError
from django.test.utils import override_settings

from django_querybudget import production
from django_querybudget.production import exporting
from django_querybudget.production.checks import production_messages
from django_querybudget.production.exporting import Increment, Observation, QueryKind
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.record import series_key
from django_querybudget.recording.raw import RawRecord
from tests.production.conftest import SECTION

KEY = series_key("view", "jobs:list", "GET")
VALUES = (3, 0.25, None, 1, None, None, 0, 0, 0)


class Keeping:
    """Keeps what it is told."""

    wants_requests = wants_queries = False

    def __init__(self) -> None:
        self.told: list[Increment] = []
        self.closed = False

    def __call__(self, increment: Increment) -> None:
        self.told.append(increment)

    def close(self) -> None:
        self.closed = True

    @property
    def requests(self) -> int:
        return sum(sum(each.requests for each in i.record.series.values()) for i in self.told)


class KeepingAll(Keeping):
    wants_requests = wants_queries = True


def raw(sql: str, seconds: float = 0.1, error: type[BaseException] | None = None) -> RawRecord:
    return RawRecord(sql, ("secret",), False, "default", "sqlite", 0.0, seconds, error)


def test_an_exporter_is_told_of_numbers_and_of_no_more_than_it_wants(
    record: ProcessRecord,
) -> None:
    modest, curious = Keeping(), KeepingAll()
    record.add(KEY, VALUES, [raw("SELECT 0")])  # before it was there
    record.add_exporter(modest)
    record.add_exporter(curious)
    raws = [
        raw("SELECT 1"),
        raw("SELECT 1", 0.2),
        raw("SELECT 2", 0.3, DatabaseError),
        raw("BEGIN"),
    ]
    record.add(KEY, VALUES, raws)
    assert record.exported()
    assert (modest.requests, curious.requests) == (1, 1)
    assert not modest.told[0].observations or curious.told[0] is modest.told[0]
    (increment,) = curious.told
    assert increment.observations == [Observation(KEY, VALUES)]
    assert increment.queries == {
        QueryKind("SELECT 1", "default", "sqlite", None): array("d", [0.1, 0.2]),
        QueryKind("SELECT 2", "default", "sqlite", DatabaseError): array("d", [0.3]),
    }
    assert increment.record.series[KEY].shapes == {}
    record.remove_exporters()
    assert modest.closed
    record.add(KEY, VALUES, [])
    record.flush()
    assert modest.requests == 1


def test_one_that_raises_is_isolated_counted_and_logged_once(
    record: ProcessRecord, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = Keeping()

    def fails(increment: Increment) -> None:
        raise ValueError("no")

    record.add_exporter(fails)
    record.add_exporter(keeping)
    for _ in range(3):
        record.add(KEY, VALUES, [])
        assert record.exported()
    assert keeping.requests == 3
    assert record.exporting[0].failures == 3
    told = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "fails" in told[0].getMessage()
    assert record.failed_flushes == 0


def test_one_that_hangs_holds_up_nobody_and_loses_no_number(record: ProcessRecord) -> None:
    answers, begun, keeping = threading.Event(), threading.Event(), Keeping()

    def hangs(increment: Increment) -> None:
        begun.set()
        answers.wait(60)
        keeping(increment)

    record.add_exporter(hangs)
    other = Keeping()
    record.add_exporter(other)
    try:
        record.add(KEY, VALUES, [])
        assert record.flush()
        assert begun.wait(10)
        for _ in range(50):
            record.add(KEY, VALUES, [])
            assert record.flush()
        assert record.exporting[1].done(10)
        assert other.requests == 51
        assert not record.exporting[0].done(0)
        record.exporting[0].stop(0.05)  # as at the process's end: it waits no longer
        assert keeping.requests == 0
    finally:
        answers.set()
    assert record.exported(10)
    assert keeping.requests == 51
    assert len(keeping.told) == 2  # what came while it hung is one


def test_what_waits_for_one_that_hangs_is_bounded_and_what_is_lost_is_counted() -> None:
    whole = Increment()
    for turn in range(3):
        more = Increment()
        for number in range(exporting.MOST_OBSERVATIONS):
            more.observe(Observation(KEY, VALUES))
            more.add_queries(QueryKind(f"{turn} {number}" + "x" * 500, "a", "b", None), (0.1,) * 10)
        more.record.of(KEY).numbers[0] += 5
        whole = whole.plus(more)
    assert len(whole.observations) == exporting.MOST_OBSERVATIONS
    assert whole.lost_requests == 2 * exporting.MOST_OBSERVATIONS
    texts = sum(len(kind.sql) for kind in whole.queries)
    assert 0 < texts < exporting.MOST_KIND_BYTES
    kept = sum(map(len, whole.queries.values()))
    assert kept == exporting.MOST_SECONDS
    # Past the bytes for texts they are told without one; past the number they are lost.
    assert len(whole.queries[QueryKind("", "a", "b", None)]) > kept // 2
    assert kept + whole.lost_queries == 3 * 10 * exporting.MOST_OBSERVATIONS
    assert whole.record.series[KEY].requests == 15
    assert whole.is_full


def test_the_settings_exporters_begin_and_end_with_the_record() -> None:
    paths = [f"{__name__}.KeepingAll", f"{__name__}.told_of"]
    with override_settings(QUERYBUDGET={"PRODUCTION": {**SECTION, "EXPORTERS": paths}}):
        record = production.start()
        try:
            assert [each.wants_queries for each in record.exporting] == [True, False]
            record.add(KEY, VALUES, [])
            assert record.exported()
            keeping = record.exporting[0].exporter
            assert isinstance(keeping, KeepingAll)
            assert keeping.requests == 1
        finally:
            production.stop()
        assert keeping.closed
        assert record.exporting == ()


def test_one_that_cannot_be_closed_ends_like_the_others(
    record: ProcessRecord, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(Keeping):
        def close(self) -> None:
            raise OSError("no")

    after = Keeping()
    record.add_exporter(Stuck())
    record.add_exporter(after)
    record.remove_exporters()
    assert after.closed
    assert "did not close" in caplog.text


def told_of(increment: Increment) -> None:
    """An exporter that is a function."""


class Refusing(Keeping):
    def __init__(self) -> None:
        raise ConnectionError("no agent here")


def test_one_that_cannot_be_had_is_an_error_of_the_checks_and_stops_no_site(
    caplog: pytest.LogCaptureFixture,
) -> None:
    paths = ["no.such.Exporter", f"{__name__}.KEY", f"{__name__}.Refusing", f"{__name__}.told_of"]
    with override_settings(QUERYBUDGET={"PRODUCTION": {**SECTION, "EXPORTERS": paths}}):
        record = production.start()
        try:
            assert [each.exporter for each in record.exporting] == [told_of]
        finally:
            production.stop()
        messages = production_messages(tests_or_debug=True)
    assert [each.id for each in messages] == ["querybudget.E042"] * 2
    assert "'no.such.Exporter', which cannot be used: ModuleNotFoundError" in messages[0].msg
    assert "it is not callable" in messages[1].msg
    assert "no agent here" in caplog.text
    with override_settings(QUERYBUDGET={"PRODUCTION": {"EXPORTERS": "prometheus"}}):
        assert production_messages(tests_or_debug=True) == []  # E001 says so
        production.start()
        production.stop()


class OwnCache(LocMemCache):
    """A project's own."""


def test_the_records_cache_is_checked() -> None:
    shared = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    nothing = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    redis = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    own = {"BACKEND": f"{__name__}.OwnCache"}

    def ids(section: object, *, quiet: bool = False) -> list[str | None]:
        caches = {"default": shared, "nothing": nothing, "redis": redis, "own": own}
        with override_settings(CACHES=caches, QUERYBUDGET={"PRODUCTION": section}):
            messages = production_messages(tests_or_debug=quiet)
            assert all(each.hint and each.msg for each in messages)
            return [each.id for each in messages]

    assert ids({"ALIAS": "redis"}) == []
    assert ids({"ALIAS": "rediss"}) == ["querybudget.E040"]
    assert ids({}) == ["querybudget.W041"]
    assert ids({}, quiet=True) == []
    assert ids({"ALIAS": "nothing"}, quiet=True) == ["querybudget.W041"]
    assert ids({"ALIAS": "own"}) == ["querybudget.W041"]
    assert ids({"ALIAS": "own"}, quiet=True) == []


def documented_receiver() -> dict[str, Any]:
    """Run the receiver as the documentation has it."""
    page = Path(__file__).parent.parent.parent / "docs" / "how-to" / "production.rst"
    block = re.search(r"\n\n(   # shop/statsd\.py\n(?:(?:   .*)?\n)*)", page.read_text())
    assert block is not None
    names: dict[str, Any] = {}
    exec(textwrap.dedent(block[1]), names)  # noqa: S102 - ours
    return names


def test_the_documented_receiver_for_statsd_sends_what_was_measured(record: ProcessRecord) -> None:
    names = documented_receiver()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent, names["connection"]:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(10)
        names["AGENT"] = agent.getsockname()
        record.add_exporter(names["statsd"])
        for _ in range(2):
            record.add(KEY, VALUES, [])
        record.add(series_key("task", "a|b#c:d,e"), VALUES, [])
        assert record.exported()
        told = sorted(agent.recv(10_000).decode() for _ in range(2))
    of_task, of_view = (text.splitlines() for text in told)
    assert of_view[:3] == [
        "querybudget.requests:2|c|#kind:view,name:jobs_list,method:GET",
        "querybudget.queries:6.0|c|#kind:view,name:jobs_list,method:GET",
        "querybudget.database_seconds:0.5|c|#kind:view,name:jobs_list,method:GET",
    ]
    assert of_task[0] == "querybudget.requests:1|c|#kind:task,name:a_b_c_d_e"
