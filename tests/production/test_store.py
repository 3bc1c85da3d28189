"""The record in the cache: merged over processes, and what a bad cache or clock does to it."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test.utils import override_settings
from redis.connection import AbstractConnection as Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from django_querybudget import production
from django_querybudget.production import encoding, intervals, process, store
from django_querybudget.production.decoding import decoded, taken_over
from django_querybudget.production.encoding import FORMAT, encoded
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import parse_duration, read_picture
from django_querybudget.production.record import Record, series_key
from django_querybudget.production.store import HOUR, LEASE, MINUTE

KEY = series_key("view", "jobs:list", "GET")
VALUES = (3, 0.25, None, 1, None, None, 0, 0, 0)
ROOT = Path(__file__).parent.parent.parent


class Clock:
    """What the record takes for the time."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process, "time", clock)
    return clock


def requests(seconds: int = 3600, now: float | None = None) -> int:
    picture = read_picture(seconds, now=now)
    told = sum(each.requests for each in picture.whole.series.values())
    assert sum(picture.trend.requests) == told
    return told


def another(alias: str = "default") -> ProcessRecord:
    """What another process would have."""
    return ProcessRecord(alias)


@pytest.fixture(params=["record", "redis_record"])
def shared(request: pytest.FixtureRequest) -> ProcessRecord:
    found: ProcessRecord = request.getfixturevalue(request.param)
    return found


def test_processes_are_merged_when_read(shared: ProcessRecord) -> None:
    other = another(shared.alias)
    for record, number in ((shared, 3), (other, 4), (shared, 5)):
        for _ in range(number):
            record.add(KEY, VALUES, [])
        assert record.flush()
    assert requests() == 12
    assert requests(86_400) == 12
    whole = read_picture(3600).whole.series[KEY]
    assert whole.total("queries") == 36
    assert whole.seconds == 3.0


def test_a_flush_that_is_repeated_changes_nothing(shared: ProcessRecord) -> None:
    shared.add(KEY, VALUES, [])
    for _ in range(3):
        shared._dirty = True
        assert shared.flush()
    assert requests() == 1


def test_a_slots_next_holder_adds_to_what_its_last_one_wrote(
    record: ProcessRecord, clock: Clock
) -> None:
    record.add(KEY, VALUES, [])
    record.flush()
    caches["default"].delete(store._slot_key(0))  # its lease has ended
    other = another()
    for _ in range(2):
        other.add(KEY, VALUES, [])
        other.flush()
    assert other._slot == 0
    assert requests(now=clock.now) == 3
    # The first one wakes: the slot is another's, and it takes one of its own.
    record.add(KEY, VALUES, [])
    record.flush()
    record.add(KEY, VALUES, [])
    record.flush()
    assert record._slot == 1
    assert requests(now=clock.now) == 4  # the one request between was lost, none counted twice


def test_redis_takes_one_call_a_flush(
    redis_record: ProcessRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = caches["redis"].client.get_client(write=True)  # type: ignore[attr-defined]
    redis_record.add(KEY, VALUES, [])
    redis_record.flush()

    def commands() -> dict[str, int]:
        told = client.info("commandstats")
        return {name: each["calls"] for name, each in told.items()}

    # Counted where they are sent: the server's own count has other connections' reads in it.
    sent: list[object] = []
    send = Connection.send_packed_command

    def counted(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return send(self, command, *args, **kwargs)

    redis_record.add(KEY, VALUES, [])
    calls = commands()
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "send_packed_command", counted)
        redis_record.flush()
    after = {name: number - calls.get(name, 0) for name, number in commands().items()}
    assert {name: number for name, number in after.items() if number and "info" not in name} == {
        "cmdstat_get": 1,
        "cmdstat_set": 3,
        "cmdstat_expire": 1,
    }
    assert len(sent) == 1
    assert b"pickle" not in client.get(redis_record._store._made(store._SLOTS_KEY))  # type: ignore[union-attr]


def test_minutes_end_and_hours_last(record: ProcessRecord, clock: Clock) -> None:
    for _ in range(5):
        record.add(KEY, VALUES, [])
        record.flush()
        clock.now += 60
    picture = read_picture(600, now=clock.now)
    assert list(picture.trend.requests) == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert requests(60, now=clock.now - 60) == 1
    assert requests(86_400, now=clock.now) == 5


def test_a_clock_that_jumps_back_loses_nothing(record: ProcessRecord, clock: Clock) -> None:
    for jump in (0, 7200, -7200, -7200, 7200):
        clock.now += jump
        record.add(KEY, VALUES, [])
        assert record.flush()
    assert requests(86_400, now=clock.now + 7200) == 5
    assert requests(now=clock.now) == 3


def test_releases_are_kept_apart(record: ProcessRecord) -> None:
    for release in ("2026.1", "2026.2"):
        section = {"PRODUCTION": {"ALIAS": "default", "INTERVAL": 60}, "RELEASE": release}
        with override_settings(QUERYBUDGET=section):
            one = another()
            one.add(KEY, VALUES, [])
            one.flush()
    picture = read_picture(3600)
    assert {name: each.series[KEY].requests for name, each in picture.releases.items()} == {
        "2026.1": 1,
        "2026.2": 1,
    }


def test_a_slot_keeps_what_it_had_of_other_releases(record: ProcessRecord) -> None:
    """Two releases at once, whose processes take over one slot from one another in turn."""
    for turn in range(6):
        section = {"PRODUCTION": {"INTERVAL": 60}, "RELEASE": str(turn % 2)}
        with override_settings(QUERYBUDGET=section):
            one = another()
            one.add(KEY, VALUES, [])
            assert one.flush()
            assert one._slot == 0
            caches["default"].delete(store._slot_key(0))
            kept = [len(each.inherited or b"") for each in one._intervals]
            assert max(kept) < 300  # no more for each that comes
    releases = read_picture(3600).releases
    assert {name: each.series[KEY].requests for name, each in releases.items()} == {"0": 3, "1": 3}


def body(record: Record | None = None) -> bytes:
    if record is None:
        record = Record()
        record.of(KEY).numbers[0] += 1
    return encoded({"": record})


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x80\x04N.",
        "text",
        7,
        body().replace(b"record %d" % FORMAT, b"record %d" % (FORMAT + 1)),
        body()[:-5],
        body()[:21] + b"garbage",
    ],
)
def test_what_is_no_record_of_this_version_is_ignored(record: ProcessRecord, value: Any) -> None:
    assert decoded(value) == {}
    record.add(KEY, VALUES, [])
    record.flush()
    cache = caches["default"]
    for span in (MINUTE, HOUR):
        number = int(time.time()) // span.seconds
        cache.set(span.key(number, 1), value)
        cache.set(store._SLOTS_KEY, b"2")
    assert requests() == 1
    # And the process whose slot it is writes over it.
    other = another()
    other.add(KEY, VALUES, [])
    other.flush()
    assert other._slot == 1
    assert requests() == 2


def packed(*lines: str) -> bytes:
    text = "".join(f"{line}\n" for line in lines)
    return encoding.HEAD + zlib.compress(text.encode())


ROW = '["", "view", "a", "GET", null, [0, 1], []]'


@pytest.mark.parametrize(
    "row",
    [
        '["", "view", "a", "GET", null, [0, -1], []]',
        '["", "view", "a", "GET", null, [0, NaN], []]',
        '["", "view", "a", "GET", null, [0, 1e999], []]',
        '["", "view", "a", "GET", null, [0, 1%s], []]' % ("0" * 400),
        '["", "view", "a", "GET", null, [100000, 1], []]',
        '["", "view", "a", "GET", null, [-1, 1], []]',
        '["", "view", "a", "GET", null, [0], []]',
        '["", "view", "a", "GET", null, [0, true], []]',
        '["", "view", "a", "GET", null, [0, "1"], []]',
        '["", "view", 7, "GET", null, [0, 1], []]',
        '["", "view", ["a"], "GET", null, [0, 1], []]',
        '["", "view", "%s", "GET", null, [0, 1], []]' % ("x" * 2_000),
        '[7, "view", "a", "GET", null, [0, 1], []]',
        '["", "view", "a", "GET", true, [0, 1], []]',
        '["", "view", "a", "GET", null, [0.5, 1], []]',
        '["", "view", "a", "GET", null, [0, 1], [0, 1, 1]]',
        '["", "view", "a", "GET", null, [0, 1], [-1, 1, 1, 1]]',
        '["", "view", "a", "GET", null, [0, 1], [0.5, 1, 1, 1]]',
        '["", "view", "a", "GET", null, [0, 1], [999, 1, 1, 1]]',
        '["", "view", "a", "GET", null, [0, 1], [0, 1, 1, NaN]]',
        ROW + '\t[[["a", "b", "c", 1]], []]',
        ROW + '\t[[["a", "b", "c", 1, -2]], []]',
        ROW + '\t[[["a", 7, "c", 1, 2]], []]',
        ROW + '\t[[], [["a", "b", "c", 1, 2]]]',
        ROW + '\t[[], [["a", "b", "c", NaN, ""]]]',
        ROW + "\t[[], []] ",
        '{"a": 1}',
        "[" * 100_000,
        '["%s"]' % ("x" * 200_000),
        ROW + ROW,
    ],
)
def test_a_record_that_holds_what_none_can_is_ignored(row: str) -> None:
    assert decoded(packed(ROW))[""].series[series_key("view", "a", "GET")].requests == 1
    assert decoded(packed(ROW, row)) == {}
    into = Record()
    assert taken_over(packed(ROW, row), "", into) == b""
    assert into.series == {}  # not the first row of it either
    assert taken_over(packed(ROW) + packed(ROW, row), "", into) == b""
    assert into.series[series_key("view", "a", "GET")].requests == 1


def test_a_record_that_would_be_endless_is_ignored() -> None:
    many = packed(*[ROW] * 100)
    assert len(decoded(many + many)[""].series) == 1
    endless = encoding.HEAD + zlib.compress(b" " * (9 * 1024 * 1024))
    assert decoded(endless) == {}
    assert decoded(encoding.HEAD + zlib.compress(ROW.encode())) == {}  # half a line


class Broken(LocMemCache):
    """A cache whose server is away."""

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("away")

    def set(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("away")


def test_minutes_that_end_while_the_cache_is_away_are_written_when_it_is_back(
    redis_record: ProcessRecord, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = another("redis")  # it leaves the slot's next holder what it wrote
    for _ in range(2):
        first.add(KEY, VALUES, [])
    assert first.flush()
    caches["redis"].delete(store._slot_key(0))
    redis_record.add(KEY, VALUES, [])
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "send_packed_command", away)
        assert not redis_record.flush()
        for _ in range(3):
            clock.now += 60
            for _ in range(2):
                redis_record.add(KEY, VALUES, [])
                assert not redis_record.flush()
    caches["redis"].delete(store._slot_key(0))
    for _ in range(2):
        assert redis_record.flush()
    assert redis_record._slot == 0
    picture = read_picture(600, now=clock.now)
    assert list(picture.trend.requests)[-5:] == [0, 3, 2, 2, 2]
    assert requests(86_400, now=clock.now) == 9
    # A minute that was written in part before the cache went is written whole.
    redis_record.add(KEY, VALUES, [])
    assert redis_record.flush()
    redis_record.add(KEY, VALUES, [])
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "send_packed_command", away)
        assert not redis_record.flush()
        clock.now += 60
        redis_record.add(KEY, VALUES, [])
        assert not redis_record.flush()
    assert redis_record.flush()
    assert list(read_picture(600, now=clock.now).trend.requests)[-3:] == [2, 4, 1]


def away(*_: Any, **__: Any) -> None:
    raise RedisConnectionError("away")


def test_what_waits_for_the_cache_is_bounded_and_hours_come_first(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with with_cache(Broken):
        record = another()
        monkeypatch.setattr(record, "_start", lambda: None)
        names = random.Random(1)  # noqa: S311 - no secret
        for _ in range(200):
            clock.now += 60
            for number in range(200):
                name = f"{number}{names.random()}"
                record.add(series_key("view", name, "GET"), VALUES, [])
            assert not record.flush()
        waiting = record._unwritten._over
    kept = sum(len(each.own) for each in waiting)
    assert intervals.UNWRITTEN_BYTES * 0.8 < kept <= intervals.UNWRITTEN_BYTES
    assert [each.number for each in waiting if each.span is HOUR] == [
        clock.now // 3600 - at for at in (3, 2, 1)
    ]
    assert [each for each in waiting if each.span is MINUTE][-1].number == clock.now // 60 - 1


class Hanging(LocMemCache):
    """A cache whose server answers when it is told to."""

    answers = threading.Event()

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        self.answers.wait(60)
        return {}


@pytest.fixture
def hanging() -> Iterator[None]:
    Hanging.answers.clear()
    yield
    Hanging.answers.set()


def with_cache(kind: type) -> Any:
    backend = f"{__name__}.{kind.__name__}"
    return override_settings(
        CACHES={"default": {"BACKEND": backend}},
        QUERYBUDGET={"PRODUCTION": {"INTERVAL": 0.1}},
    )


def test_a_dead_cache_costs_nothing_but_the_picture(caplog: pytest.LogCaptureFixture) -> None:
    with with_cache(Broken):
        record = another()
        for _ in range(3):
            record.add(KEY, VALUES, [])
            assert not record.flush()
        record.stop()
    assert record.failed_flushes >= 3
    told = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert [each.getMessage().count("ConnectionError: away") for each in told] == [1]
    # It is back: the minute and the hour that run are whole.
    caches["default"].clear()
    assert record.flush()
    assert requests() == 3
    caches["default"].clear()


def test_a_hanging_cache_stops_no_request_and_no_exit(hanging: None) -> None:
    with with_cache(Hanging):
        record = another()
        for _ in range(50):
            record.add(KEY, VALUES, [])
            time.sleep(0.005)  # the thread hangs meanwhile
        assert record._flushing.locked()
        record.stop(seconds=0.2)
        thread = record._thread
        assert thread is not None  # it hangs still, and no other is started beside it
        record.add(KEY, VALUES, [])
        assert record._thread is thread
        Hanging.answers.set()
        record.stop(seconds=30)
        assert not thread.is_alive()


def test_more_processes_than_slots(record: ProcessRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_SLOTS", 2)
    processes = [another() for _ in range(3)]
    for each in processes:
        each.add(KEY, VALUES, [])
    assert [each.flush() for each in processes] == [True, True, False]
    assert requests() == 2
    assert LEASE > 0


def test_of_processes_that_start_at_once_none_is_left_out(
    shared: ProcessRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tells how many slots there are; the one with the lowest does so last."""
    others = [another(shared.alias) for _ in range(3)]
    waiting = [*others]
    put = store.RecordStore._set

    def after_the_others(its: Any, key: str, value: bytes, seconds: int) -> None:
        if key == store._SLOTS_KEY and waiting:
            other = waiting.pop(0)
            other.add(KEY, VALUES, [])
            assert other.flush()
        (put if type(its) is store.RecordStore else put_in_redis)(its, key, value, seconds)

    put_in_redis = store.RedisRecordStore._set
    for kind in (store.RecordStore, store.RedisRecordStore):
        monkeypatch.setattr(kind, "_set", after_the_others)
    shared.add(KEY, VALUES, [])
    assert shared.flush()
    assert [each._slot for each in (shared, *others)] == [0, 1, 2, 3]
    assert requests() == 4
    # And nobody has counted any too many, so that a picture is no dearer than it need be.
    assert store.store_on(shared.alias)._slots() == 4


FORKS = """
import os, sys
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", INSTALLED_APPS=["django_querybudget"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": sys.argv[1],
                        "KEY_PREFIX": "forks"}},
    QUERYBUDGET={"PRODUCTION": {"INTERVAL": 60}},
)
django.setup()
from django.db import connection
from django_querybudget import production
for _ in range(3):
    with production.measured("task", "parents"):
        connection.cursor().execute("SELECT 1")
child = os.fork()
if not child:
    for _ in range(2):
        with production.measured("task", "childs"):
            connection.cursor().execute("SELECT 1")
    sys.exit()  # its own last flush, by atexit
os.waitpid(child, 0)
with production.measured("task", "parents"):
    pass
"""


def test_forks_count_once_and_the_last_flush_comes_at_the_exit(redis_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKS, redis_url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shared = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}
    with override_settings(CACHES={"default": {**shared, "KEY_PREFIX": "forks"}}):
        found = read_picture(3600).whole.series
        caches["default"].clear()
    counted = {key.name: (each.requests, each.total("queries")) for key, each in found.items()}
    assert counted == {"parents": (4, 3), "childs": (2, 2)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("6h", 21_600), ("2d", 172_800), ("1w", 604_800)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "0h", "-1h", "15d", "1.5h", "1h ", "٣h", "9" * 50])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="write a number"):
        parse_duration(text)


def test_a_task_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'view'"):
        production.measured("view", "a")
