"""What is merged once and kept for the next reader: pictures are the same, and take few values."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.test.utils import override_settings

from django_querybudget.production import process
from django_querybudget.production.blocks import SETTLED
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import Picture, read_picture
from django_querybudget.production.record import Cost, Remark, Said, SeriesKey, ShapeAt, series_key
from django_querybudget.production.store import HOUR, MINUTE, RecordStore, Span, store_on
from tests.production.conftest import SECTION
from tests.production.test_store import Clock

BEGIN = 1_800_000_000.0 - 1_800_000_000 % 86_400
KEYS = [series_key("view", name, "GET") for name in ("a", "b", "c")]
Requests = Counter[tuple[int, str, SeriesKey]]
"""How many there were by interval, release and series."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The time; with a cache that drops nothing, as a locmem one does past 300 values."""
    clock = Clock()
    monkeypatch.setattr(process, "time", clock)
    roomy = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "blocks",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
    caching = {**settings.CACHES, "default": roomy}
    with override_settings(CACHES=caching, QUERYBUDGET={"PRODUCTION": SECTION}):
        yield clock
        caches["default"].clear()


def lived(clock: Clock, span: Span, intervals: int, *, processes: int = 3) -> Requests:
    """Let processes of two releases serve requests for so many intervals; some do in few."""
    chance = random.Random(intervals)  # noqa: S311 - no secret
    running = {number: ProcessRecord("default") for number in range(processes)}
    expected: Requests = Counter()
    for interval in range(intervals):
        clock.now = BEGIN + interval * span.seconds
        for number, each in running.items():
            release = "1.0" if interval < intervals // 2 + number else "1.1"
            told = chance.choices(KEYS[: chance.randint(1, 3)], k=chance.randint(0, 4))
            for key in told:
                values = (chance.randint(0, 9), 0.5, None, 0, None, None, 0, 0, 0)
                each.add(key, values, [])
                expected[int(clock.now) // span.seconds, release, key] += 1
            for key, series in each._pending.record.series.items():
                shape = ShapeAt(f"SELECT {key.name}", f"{key.name}.py:1", key.name)
                each._pending.record.add_shape(series, shape, Cost(1, 0.5))
                remark = Remark("bypass", f"because of {key.name}")
                each._pending.record.add_remark(series, remark, Said(1, "advice"))
            with override_settings(QUERYBUDGET={"PRODUCTION": SECTION, "RELEASE": release}):
                each.flush()
    return expected


def requests_of(picture: Picture) -> tuple[Requests, Requests]:
    """Return the requests by interval and series, and by release and series."""
    by_interval: Requests = Counter()
    for key, course in picture.trends.items():
        for start, number in zip(picture.starts(), course.requests, strict=True):
            by_interval[start // picture.step, "", key] += int(number)
    by_release: Requests = Counter()
    for release, record in picture.releases.items():
        for key, series in record.series.items():
            by_release[0, release, key] += series.requests
    return +by_interval, +by_release


def expected_of(expected: Requests, numbers: Iterable[int]) -> tuple[Requests, Requests]:
    by_interval: Requests = Counter()
    by_release: Requests = Counter()
    for (number, release, key), times in expected.items():
        if number in numbers:
            by_interval[number, "", key] += times
            by_release[0, release, key] += times
    return by_interval, by_release


@pytest.mark.parametrize(("span", "seconds"), [(MINUTE, 3600), (HOUR, 2 * 86_400)])
def test_a_picture_is_the_same_from_what_was_kept(clock: Clock, span: Span, seconds: int) -> None:
    expected = lived(clock, span, 100)
    last = clock.now
    for passed in (0, 0, 1, 7, 7, 30, 45):  # readers come, and what they ask for moves on
        now = int(last + passed * span.seconds)
        numbers = range((now - seconds) // span.seconds + 1, now // span.seconds + 1)
        picture = read_picture(seconds, now=now)
        assert requests_of(picture) == expected_of(expected, numbers)
        assert sum(picture.trend.requests) == sum(expected_of(expected, numbers)[0].values())
        assert picture.seconds == pytest.approx(sum(picture.trend.requests) / 2)
        held = sorted(number for number, release, _ in expected if release == "1.1")
        if held[0] in numbers:
            assert picture.seen["1.1"] == (held[0] * span.seconds, held[-1] * span.seconds)


def test_what_a_reader_saw_too_early_is_read_again(clock: Clock) -> None:
    """Of the minute that runs, and of those before whose flush may still be under way."""
    two = ProcessRecord("default"), ProcessRecord("default")
    clock.now = BEGIN
    for turn, now in enumerate((BEGIN, BEGIN + 59, BEGIN + 60, BEGIN + 60 + SETTLED - 1), 1):
        for each in two:
            each.add(KEYS[0], (1, 0.5, None, 0, None, None, 0, 0, 0), [])
            assert each.flush()
        assert sum(read_picture(3600, now=now).trend.requests) == 2 * turn


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the values that a store has given."""
    keys: list[str] = []
    own = RecordStore.read

    def noted(self: RecordStore, wanted: Iterable[str]) -> Any:
        found = own(self, wanted)
        keys.extend(found)
        return found

    monkeypatch.setattr(RecordStore, "read", noted)
    return keys


def test_the_next_reader_takes_few_values(clock: Clock, read: list[str]) -> None:
    lived(clock, MINUTE, 70, processes=8)
    read.clear()
    read_picture(3600, now=clock.now, wanted=False)
    assert len(read) > 60 * 6
    read.clear()
    read_picture(3600, now=clock.now, wanted=False)
    # At most 4 + 3 + 2 + 3 + 4 that are kept, 2 minutes of 8 processes, and their number.
    assert len(read) <= 16 + 2 * 8 + 1


def test_shapes_and_remarks_are_kept_for_those_who_want_them(clock: Clock) -> None:
    lived(clock, HOUR, 30)

    def told(wanted: Any) -> dict[str, tuple[list[Any], list[Any]]]:
        series = read_picture(86_400, now=clock.now, wanted=wanted).whole.series
        return {
            key.name: (each.costliest(), each.remarked("bypass")) for key, each in series.items()
        }

    told(False)  # who does not want them keeps them for the next
    whole = told(True)
    ((shape, cost),), ((remark, said),) = whole["a"]
    assert (shape.sql, remark.text, said.advice) == ("SELECT a", "because of a", "advice")
    assert cost.queries == said.times > 20
    assert told(True) == whole
    alone = told(KEYS[0])
    assert alone["a"] == whole["a"]
    assert told(False)["a"] != whole["a"]  # the hours that are kept have told nothing


@pytest.mark.parametrize("value", [b"", b"querybudget-record 1\n", "text", 7])
def test_what_is_no_record_under_a_blocks_key_is_replaced(clock: Clock, value: Any) -> None:
    expected = lived(clock, MINUTE, 70)
    numbers = range(int(clock.now) // 60 - 59, int(clock.now) // 60 + 1)
    for number in numbers:
        for length in (20, 5, 1):
            caches["default"].set(MINUTE.block_key(number, length), value)
    for _ in range(2):
        assert requests_of(read_picture(3600, now=clock.now)) == expected_of(expected, numbers)
    whole = next(each for each in numbers if each % 20 == 0)
    assert caches["default"].get(MINUTE.block_key(whole, 20)) != value


def test_a_cache_that_takes_nothing_more_shows_its_picture(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lived(clock, MINUTE, 70)

    def refused(self: RecordStore, values: object) -> None:
        raise ConnectionError("read only")

    monkeypatch.setattr(RecordStore, "keep", refused)
    numbers = range(int(clock.now) // 60 - 59, int(clock.now) // 60 + 1)
    for _ in range(2):
        assert requests_of(read_picture(3600, now=clock.now)) == expected_of(expected, numbers)


def test_a_reader_that_is_stopped_leaves_what_it_has_merged(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a picture of two weeks that takes longer than a server allows is never there."""
    lived(clock, MINUTE, 70)
    numbers = range(int(clock.now) // 60 - 59, int(clock.now) // 60 + 1)
    own, calls = RecordStore.read, iter(range(1_000))

    def stopping(self: RecordStore, wanted: Iterable[str]) -> Any:
        if next(calls) == 12:
            raise ConnectionError("stopped")
        return own(self, wanted)

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "read", stopping)
        with pytest.raises(ConnectionError, match="stopped"):
            read_picture(3600, now=clock.now)
    keys = [MINUTE.block_key(number, length) for number in numbers for length in (20, 5)]
    assert 0 < len(caches["default"].get_many(keys)) < 5


def test_redis_keeps_blocks_too(redis_record: ProcessRecord) -> None:
    store = store_on("redis")
    store.keep([(MINUTE.block_key(1, 20), b"a", 60), (MINUTE.block_key(2, 1), b"b", 60)])
    keys = [MINUTE.block_key(1, 20), MINUTE.block_key(2, 1), MINUTE.block_key(3, 1)]
    assert store.read(keys) == {keys[0]: b"a", keys[1]: b"b"}
