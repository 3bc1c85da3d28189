"""Many that ask at once: who makes the answer, who waits, and who is given the last one."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import (
    cache_stats,
    cached_queryset,
    cached_view,
    invalidate,
    sites,
)
from django_querybudget.cache.reading import fills, leases, through
from django_querybudget.cache.reading.question import Question, site_of_question
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.pulse import PULSE
from jobs.models import Industry
from tests.cache import actors, lease_process

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 64


@pytest.fixture(autouse=True)
def rows(settings: Any) -> Iterator[None]:
    settings.QUERYBUDGET = {"CACHE": {"LEASE_FROM": 0, "CLOCK_SKEW": 0}}
    caches["default"].clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])
    list(industries())  # learns what the queryset looks like
    caches["default"].clear()
    cache_stats(reset=True)
    leases._unstored.clear()
    yield
    cache_stats(reset=True)
    _coming[0] = 0


@cached_queryset(timeout=60)
def industries() -> Any:
    return Industry.objects.order_by("pk")


@cached_queryset(timeout=60, refresh=30)
def refreshed() -> Any:
    return Industry.objects.order_by("pk")


FORMS: dict[str, Callable[[], Any]] = {
    "queryset": lambda: len(cached_queryset(Industry.objects.order_by("pk"), 60)),
    "function": lambda: len(industries()),
    "count": lambda: cached_queryset(Industry.objects.all(), 60).count(),
}


@pytest.fixture
def slow(patient: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each answer take a while to make; return a list with an item for each that was made."""
    made: list[int] = []
    begun = leases.begun

    def slowly(*arguments: Any) -> Any:
        made.append(1)
        fill = begun(*arguments)
        time.sleep(0.3)
        # A thread that comes late has to come before the answer.
        late = time.monotonic() + 10.0
        while _come() < _coming[0] and time.monotonic() < late:
            time.sleep(0.01)
        return fill

    monkeypatch.setattr(leases, "begun", slowly)
    return made


_coming = [0]
"""How many threads ask at once."""


def _come() -> int:
    """How many of them have looked: they missed, are given the last one or make the next."""
    found = cache_stats()
    return found.misses + found.hits + sum(site.refreshes for site in found.sites)


def at_once(ask: Callable[[], Any], number: int = MANY) -> list[Any]:
    go = threading.Barrier(number)
    _coming[0] = number

    def one() -> Any:
        try:
            go.wait()
            return ask()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return [each.result() for each in [pool.submit(one) for _ in range(number)]]


# One makes it


@pytest.mark.parametrize("form", FORMS)
def test_of_many_threads_one_makes_the_answer(form: str, slow: list[int]) -> None:
    assert set(at_once(FORMS[form])) == {2}
    assert len(slow) == 1
    found = cache_stats()
    assert (found.misses, found.hits) == (MANY, MANY - 1)


def test_of_many_threads_one_runs_the_view(patient: None) -> None:
    runs: list[int] = []

    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        runs.append(1)
        time.sleep(0.3)
        return HttpResponse(f"{Industry.objects.count()}")

    assert set(at_once(lambda: view(RequestFactory().get("/")).content)) == {b"2"}
    assert len(runs) == 1


def test_of_many_tasks_one_makes_the_answer(slow: list[int]) -> None:
    async def ask() -> int:
        return len([each async for each in cached_queryset(Industry.objects.order_by("pk"), 60)])

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(ask() for _ in range(MANY)))

    assert set(asyncio.run(all_of_them())) == {2}
    assert len(slow) == 1


@pytest.mark.once
@pytest.mark.parametrize("form", ["view", "queryset"])
@pytest.mark.parametrize("dies", [False, True])
def test_of_many_processes_one_makes_the_answer_and_two_where_it_dies(
    form: str, dies: bool, redis_url: str, tmp_path: Path
) -> None:
    """The first has 1 reader, each of the others 21, of whom 21 come while it makes the answer.

    Nobody waits for longer than the bound: the lease of one that died, and ``WAIT``. That is long
    here, or a machine that stands still would have all of them make it.
    """
    wait, others, each_has = 20.0, 3, (MANY - 1) // 3
    caches["redis"].clear()
    log = tmp_path / "log"
    log.touch()
    readers: list[tuple[Any, Any]] = []
    try:
        for number in range(1 + others):
            ours, theirs = actors.CONTEXT.Pipe()
            setup = {
                "alias": "default",
                "database": {"NAME": connections["default"].settings_dict["NAME"]},
                "caches": {
                    "redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}
                },
                "querybudget": {
                    "CACHE": {"ALIAS": "redis", "LEASE_FROM": 0, "CLOCK_SKEW": 0,
                              "RECOVERY_TIME": 0}
                },
                "form": form,
                "log": str(log),
                "dies": dies and number == 0,
                "meeting": each_has,
                "threads": each_has if number else 1,
                "wait": wait,
            }  # fmt: skip
            process = actors.process(lease_process.read, setup, theirs)
            process.start()
            theirs.close()
            readers.append((ours, process))
        for ours, _ in readers:
            assert ours.poll(60)
            ours.recv()
        readers[0][0].send("go")
        deadline = time.monotonic() + 30
        while not log.read_text():  # until the first one makes it
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for ours, _ in readers[1:]:
            ours.send("go")
        told = []
        for ours, _ in readers[1:]:
            assert ours.poll(60)
            told += ours.recv()
    finally:
        for ours, process in readers:
            ours.close()
            process.kill()
            process.join()
    assert len(told) == MANY - 1
    assert {answer for answer, _ in told} == {"2"}
    assert log.read_text().count("run") == (2 if dies else 1)
    most = (leases.LEASE + wait) / leases.POLL
    assert max(waits for _, waits in told) <= most
    assert sum(waits > 0 for _, waits in told) >= each_has, "they have to meet"


# When a lease is taken


def trips_of(ask: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    store = type(store_for("default"))
    take = store.take

    def noted(its: Any, key: str, *rest: Any) -> Any:
        seen.append(key)
        return take(its, key, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(store, "take", noted)
        ask()
    return seen


@pytest.mark.parametrize(
    ("least", "cost", "takes"),
    [(None, 9.0, False), (0.02, 0.001, False), (0.02, 0.03, True), (0, 0.0, True)],
)
def test_a_lease_is_for_what_is_dear(
    least: float | None, cost: float, takes: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"LEASE_FROM": least}}
    FORMS["queryset"]()
    (site,) = sites._sites.values()
    site.last_cost = cost
    caches["default"].clear()
    assert bool(trips_of(FORMS["queryset"], monkeypatch)) is takes


def test_the_cost_is_known_from_a_dead_entry_in_another_process(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"LEASE_FROM": 0.2}}
    with monkeypatch.context() as patch:
        patch.setattr(fills.Fill, "settled", _dear(fills.Fill.settled))
        FORMS["queryset"]()
    cache_stats(reset=True)  # as in another process
    Industry.objects.create(name="three")
    assert trips_of(FORMS["queryset"], monkeypatch)


def _dear(settled: Any) -> Any:
    def dear(fill: Any) -> Any:
        fill.cost = 0.5
        return settled(fill)

    return dear


def test_nobody_waits_inside_of_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold the locks that the leader waits for."""
    with transaction.atomic():
        assert trips_of(FORMS["queryset"], monkeypatch) == []


def test_nobody_waits_for_what_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> None:
        list(cached_queryset(Industry.objects.order_by("pk"), 60))

    monkeypatch.setattr(fills.Fill, "settled", lambda fill: fill.spoil("for the test"))
    assert trips_of(ask, monkeypatch)
    assert trips_of(ask, monkeypatch) == []


def test_one_visitors_answer_that_is_not_stored_keeps_nobody_else_from_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.COOKIES.get("theme", f"{Industry.objects.count()}"))

    def ask(page: int, theme: str = "") -> Callable[[], Any]:
        headers = {"Cookie": f"theme={theme}"} if theme else {}
        return lambda: view(RequestFactory().get("/", {"page": page}, headers=headers))

    assert trips_of(ask(1, "dark"), monkeypatch)
    assert trips_of(ask(1, "light"), monkeypatch) == []  # they are not stored either
    assert trips_of(ask(1), monkeypatch)
    assert cache_stats().stores == 1
    assert trips_of(ask(2, "light"), monkeypatch) == []


def test_a_passing_reason_is_over_when_an_answer_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{Industry.objects.count()}", status=int(request.GET["status"]))

    def ask(status: int) -> Callable[[], Any]:
        return lambda: view(RequestFactory().get("/", {"status": status}))

    assert trips_of(ask(500), monkeypatch)
    assert trips_of(ask(200), monkeypatch) == []
    assert trips_of(ask(404), monkeypatch)


def test_what_is_remembered_of_such_answers_is_bounded() -> None:
    question = _question()
    turn = leases.Turn(question, through.look_up(question))
    for number in range(3 * leases.MOST_INPUTS):
        turn.not_stored([f"cookie:{number}"])
        turn.not_stored(f"cookie:{number}.{each}" for each in range(99))
    (seen,) = leases._unstored.values()
    assert 0 < len(seen) <= leases.MOST_INPUTS


def test_an_error_gives_the_lease_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(leases, "begun", fail)
        with pytest.raises(ZeroDivisionError):
            FORMS["queryset"]()
    keys = trips_of(FORMS["queryset"], monkeypatch)
    assert len(keys) == 1  # taken at the first attempt


@pytest.mark.parametrize(("cost", "seconds"), [(0.0, 1.0), (2.0, 4.0), (99.0, 10.0)])
def test_a_lease_is_as_long_as_the_answer_takes(
    cost: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = _question()
    site_of_question(question).last_cost = cost
    turn = leases.Turn(question, through.look_up(question))
    taken: list[float] = []

    def take(_: Any, key: str, who: str, lasting: float) -> leases.Lease:
        taken.append(lasting)
        return leases.Lease.TAKEN

    monkeypatch.setattr(type(store_for("default")), "take", take)
    list(turn.waits())
    assert taken == [seconds]


def _question() -> Question:
    from django_querybudget.cache.reading.questions import rows_question

    return rows_question(cached_queryset(Industry.objects.order_by("pk"), 60))


# Before the end


def entry_of(form: str = "queryset") -> Any:
    looked = through.look_up(_question())
    assert looked.entry is not None
    return looked.entry


def test_nothing_is_made_again_long_before_its_end(slow: list[int]) -> None:
    for _ in range(50):
        FORMS["queryset"]()
    assert len(slow) == 1


def test_the_chance_is_that_of_the_paper() -> None:
    """One whose end is as far as its cost is made again once in e times."""
    tries = 20_000
    drawn = sum(through._is_early(0.1, 0.1) for _ in range(tries)) / tries
    assert abs(drawn - math.exp(-1)) < 0.02
    assert through._is_early(0.0, 0.1)
    assert not any(through._is_early(20.1, 0.1) for _ in range(1000))


def test_near_its_end_one_makes_it_again_and_the_others_have_it(slow: list[int]) -> None:
    FORMS["queryset"]()
    slow.clear()
    entry = entry_of()
    entry.cost, entry.until = 10.0, time.time()  # the chance is 1
    cache_stats(reset=True)
    assert set(at_once(FORMS["queryset"], 8)) == {2}
    found = cache_stats()
    assert len(slow) == 1
    assert (found.hits, found.misses) == (7, 0)
    assert [site.refreshes for site in found.sites] == [1]
    assert [site.served_stale for site in found.sites] == [0]


def test_in_a_transaction_what_is_true_is_given(slow: list[int]) -> None:
    FORMS["queryset"]()
    slow.clear()
    entry = entry_of()
    entry.cost, entry.until = 10.0, time.time()
    with transaction.atomic():
        assert FORMS["queryset"]() == 2
    assert slow == []


# refresh: what is not true any more


def view_that_refreshes() -> tuple[Callable[..., Any], list[int]]:
    runs: list[int] = []

    @cached_view(60, vary_on=(), refresh=30, tags=("front",))
    def view(request: HttpRequest) -> HttpResponse:
        runs.append(1)
        return HttpResponse(f"{Industry.objects.count()}")

    return view, runs


def ask_view() -> tuple[Callable[[], int], str]:
    view, _ = view_that_refreshes()
    return lambda: int(view(RequestFactory().get("/")).content), "view"


def ask_queryset() -> tuple[Callable[[], int], str]:
    return (
        lambda: len(
            cached_queryset(Industry.objects.order_by("pk"), 60, refresh=30, tags=("front",))
        ),
        "queryset",
    )


def ask_function() -> tuple[Callable[[], int], str]:
    list(refreshed())
    return lambda: len(refreshed()), "function"


REFRESHED = [ask_view, ask_queryset, ask_function]


@contextmanager
def elsewhere() -> Iterator[None]:
    """Let another process make whatever is asked for: it has every lease."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store_for("default")), "take", lambda *_: leases.Lease.HELD)
        yield


@pytest.mark.parametrize("made", REFRESHED)
def test_who_has_the_lease_makes_it_and_others_get_what_was_true(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, _ = made()
    assert ask() == ask() == 2
    Industry.objects.create(name="three")
    cache_stats(reset=True)
    with elsewhere():
        assert ask() == 2
    found = cache_stats()
    assert (found.hits, found.misses) == (1, 0)
    assert [site.served_stale for site in found.sites] == [1]
    assert ask() == 3  # the lease is free: this reader makes it
    with elsewhere():
        assert ask() == 3


@pytest.mark.parametrize("made", REFRESHED)
def test_not_for_longer_than_it_says(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "WAIT", -9.0)  # nobody waits
    ask, _ = made()
    ask()
    clock = time.time
    for later, expected in ((29.0, 2), (31.0, 3)):
        caches["default"].clear()
        Industry.objects.filter(name="three").delete()
        assert ask() == ask() == 2
        Industry.objects.create(name="three")
        with monkeypatch.context() as patch, elsewhere():
            patch.setattr(through.time, "time", lambda later=later: clock() + later)
            assert ask() == expected


def test_a_write_long_after_the_fill_counts_from_the_last_hit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is known to have been true then; of the time since it was made that says nothing."""
    monkeypatch.setattr(leases, "WAIT", -9.0)
    clock = time.time
    for seen_at, expected in ((20.0, 2), (5.0, 3)):
        ask, _ = ask_queryset()
        caches["default"].clear()
        Industry.objects.filter(name="three").delete()
        ask()
        with monkeypatch.context() as patch:
            patch.setattr(through.time, "time", lambda at=seen_at: clock() + at)
            assert ask() == 2  # a hit
        Industry.objects.create(name="three")
        with monkeypatch.context() as patch, elsewhere():
            patch.setattr(through.time, "time", lambda: clock() + 40)
            assert ask() == expected


def test_what_was_dropped_by_name_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "WAIT", -9.0)
    for made, drop in (
        (ask_view, lambda: invalidate("front")),
        (ask_queryset, lambda: invalidate("front")),
        (ask_function, refreshed.invalidate),  # type: ignore[attr-defined]
    ):
        ask, _ = made()
        ask()
        with CaptureQueriesContext(connection) as queries, elsewhere():
            drop()
            ask()
        assert len(queries) == 1, made


def test_without_it_nothing_old_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "WAIT", -9.0)
    for form in FORMS.values():
        Industry.objects.filter(name="three").delete()
        assert form() == 2
        Industry.objects.create(name="three")
        with elsewhere():
            assert form() == 3


def test_not_where_the_pulse_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "WAIT", -9.0)
    ask, _ = ask_queryset()
    ask()
    Industry.objects.create(name="three")
    look_up = through._look_up

    def after_a_gap(*arguments: Any) -> Any:
        found, values, entry = look_up(*arguments)
        return found, {**values, PULSE: "another"}, entry

    monkeypatch.setattr(through, "_look_up", after_a_gap)
    with elsewhere():
        assert ask() == 3


def test_nothing_is_stored_that_a_part_of_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, _ = ask_queryset()
    ask()

    @cached_view(60, vary_on=())
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{ask()}")

    Industry.objects.create(name="three")
    take = leases.Turn.waits

    def only_views(turn: leases.Turn) -> Any:
        if turn.question.site.startswith("view"):
            return take(turn)
        turn._give()
        return iter(())

    with monkeypatch.context() as patch:
        patch.setattr(leases.Turn, "waits", only_views)
        assert page(RequestFactory().get("/")).content == b"2"
    leases._unstored.clear()
    assert page(RequestFactory().get("/")).content == b"3"
    assert list(cache_stats().not_stored) == ["a part of it is not true any more, and is made anew"]


def test_a_view_says_that_its_answer_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_querybudget.cache.views.serving import served

    view, _ = view_that_refreshes()
    view(RequestFactory().get("/"))
    own: Any = view
    name = f"{view.__module__}.{view.__qualname__}"
    Industry.objects.create(name="three")
    with elsewhere():
        found = served(name, own._querybudget_cached_view.options, RequestFactory().get("/"))
        assert found is not None
        assert not found.is_stale
        assert list(found.waits()) == []
        assert found.is_stale
        assert found.response.content == b"2"


def test_never_across_users(monkeypatch: pytest.MonkeyPatch) -> None:
    @cached_view(60, vary_on=("cookie:who",), refresh=30)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{request.COOKIES['who']} {Industry.objects.count()}")

    def ask(who: str) -> bytes:
        return bytes(view(RequestFactory().get("/", headers={"Cookie": f"who={who}"})).content)

    assert ask("a") == b"a 2"
    Industry.objects.create(name="three")
    monkeypatch.setattr(leases, "WAIT", -9.0)
    with elsewhere():
        assert ask("b") == b"b 3"
        assert ask("a") == b"a 2"


def test_what_a_transaction_has_read_may_be_older_than_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "WAIT", -9.0)
    ask, _ = ask_queryset()
    invalidate("front")
    ask()  # the tags have their tokens
    caches["default"].delete(_question_of_ask().key)
    time.sleep(0.01)
    with transaction.atomic():
        assert ask() == 2
    Industry.objects.create(name="three")
    with elsewhere():
        assert ask() == 3
    assert cache_stats().stores == 3


def _question_of_ask() -> Question:
    from django_querybudget.cache.reading.questions import rows_question

    return rows_question(
        cached_queryset(Industry.objects.order_by("pk"), 60, refresh=30, tags=("front",))
    )


@pytest.mark.parametrize("refresh", [0, -1, "30", True, 2**31])
def test_a_wrong_refresh_is_named(refresh: Any) -> None:
    for wrong in (
        lambda: cached_view(60, refresh=refresh),
        lambda: cached_queryset(Industry.objects.all(), 60, refresh=refresh),
    ):
        with pytest.raises((TypeError, ValueError), match="refresh"):
            wrong()
