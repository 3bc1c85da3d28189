"""What the cache counts: by call site, in bounds, and over processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.core.signals import request_finished
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_querybudget.cache import cache_stats, cached_queryset, cached_view, published, sites
from django_querybudget.cache.sites import Site, SiteStats, stats_of
from django_querybudget.cache.stores.chosen import store_for
from jobs.models import Industry
from tests.cache import actors, counting_process

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def rows() -> Iterator[None]:
    caches["default"].clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])
    cache_stats(reset=True)
    yield
    cache_stats(reset=True)


@cached_queryset(timeout=60)
def industries() -> Any:
    return Industry.objects.order_by("pk")


def by_name(**options: Any) -> dict[str, SiteStats]:
    return {site.name: site for site in cache_stats(**options).sites}


def test_each_call_site_has_its_own_numbers() -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{Industry.objects.count()}")

    list(industries())  # the first call of a process learns what the queryset looks like
    caches["default"].clear()
    cache_stats(reset=True)
    for _ in range(3):
        view(RequestFactory().get("/"))
        list(industries())
    for _ in range(2):
        list(cached_queryset(Industry.objects.filter(name="one")))
        list(cached_queryset(Industry.objects.filter(name="two")))
        cached_queryset(Industry.objects.all()).count()
    found = by_name()
    numbers = {name: (s.hits, s.misses, s.stores) for name, s in found.items()}
    here = f"{__name__}.test_each_call_site_has_its_own_numbers.<locals>.view"
    rows = "queryset jobs.Industry SELECT … FROM jobs_industry"
    ordered = "ORDER BY jobs_industry.name ASC"
    assert numbers == {
        f"view {here}": (2, 1, 1),
        f"function {__name__}.industries()": (2, 1, 1),
        # One shape, two questions.
        f"{rows} WHERE jobs_industry.name = %s {ordered}": (2, 2, 2),
        f"{rows.replace('Industry', 'Industry count')} {ordered}": (1, 1, 1),
    }
    for site in found.values():
        assert site.bytes_read > 0
        assert site.hit_cost > 0
        assert site.query_cost > 0
        assert site.saved_seconds > 0
    total = cache_stats()
    assert (total.hits, total.misses, total.stores) == (7, 5, 5)
    assert total.bytes_read == sum(site.bytes_read for site in found.values())


def test_reasons_stand_with_their_site() -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.COOKIES.get("theme", ""))

    view(RequestFactory().get("/", headers={"Cookie": "theme=dark"}))
    list(cached_queryset(Industry.objects.order_by("?")))
    list(cached_queryset(Industry.objects.select_for_update()))
    found = by_name()
    here = f"{__name__}.test_reasons_stand_with_their_site.<locals>.view"
    assert dict(found[f"view {here}"].not_stored) == {"the view read cookie:theme": 1}
    assert len(found["queryset jobs.Industry"].bypasses) == 2
    assert found["queryset jobs.Industry"].bypasses["select_for_update"] == 1


def test_sites_and_their_reasons_are_bounded() -> None:
    for number in range(3 * sites.MOST_SITES):
        site = sites.site_of(f"view {number}{'x' * 1000}")
        site.count("misses")
        for reason in range(30):
            site.refused(f"{reason}{'x' * 1000}")
    found = cache_stats()
    assert found.misses == 3 * sites.MOST_SITES
    assert len(found.sites) <= sites.MOST_SITES + 1
    assert max(len(site.name) for site in found.sites) <= 200
    assert len(json.dumps(published._publisher.untold())) < 2_000_000
    others = by_name()[sites.OTHERS]
    assert sum(others.not_stored.values()) == 30 * others.misses
    assert len(others.not_stored) <= 21


# Whether it pays


def counted(**numbers: Any) -> SiteStats:
    site = Site("view v")
    site.add(numbers)
    return stats_of(site)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        # A hit is dearer than what it saves.
        (
            {"hits": 90, "misses": 10, "stores": 10, "hit_seconds": 0.09, "saved_seconds": 0.045,
             "query_seconds": 0.005},
            ["a hit takes 1.00 ms", "saves 0.50 ms"],
        ),
        # It pays, but too seldom.
        (
            {"hits": 10, "misses": 90, "stores": 90, "hit_seconds": 0.001, "saved_seconds": 0.01,
             "miss_seconds": 0.09, "query_seconds": 0.09},
            ["10% of the reads are hits", "0.10 ms", "1.00 ms", "a miss takes 1.00 ms beyond"],
        ),
        (
            {"misses": 90, "stores": 90, "miss_seconds": 0.09, "query_seconds": 0.09},
            ["0% of the reads are hits", "no hit"],
        ),
        # It pays.
        (
            {"hits": 90, "misses": 10, "stores": 10, "hit_seconds": 0.009, "saved_seconds": 0.09,
             "miss_seconds": 0.01, "query_seconds": 0.01},
            [],
        ),
        # Too few to tell.
        ({"hits": 1, "misses": 1, "stores": 1, "hit_seconds": 1.0, "saved_seconds": 0.1}, []),
    ],
)  # fmt: skip
def test_it_says_where_caching_loses(numbers: dict[str, Any], words: list[str]) -> None:
    loss = counted(**numbers).loss
    assert bool(loss) is bool(words)
    for each in words:
        assert each in loss


def test_the_sites_that_lose_are_named() -> None:
    sites.site_of("view slow").add(
        {"hits": 30, "stores": 1, "hit_seconds": 0.03, "saved_seconds": 0.003}
    )
    sites.site_of("view fast").add(
        {"hits": 30, "stores": 1, "hit_seconds": 0.003, "saved_seconds": 0.03}
    )
    assert list(cache_stats().losses) == ["view slow"]


# Over processes


@pytest.fixture
def shared(settings: Any, redis_url: str) -> Iterator[str]:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis"}}
    caches["redis"].clear()
    cache_stats(reset=True)
    yield redis_url
    caches["redis"].clear()


@pytest.fixture
def process(shared: str) -> Iterator[Callable[[str], Any]]:
    pipes = []

    def start(name: str, does: Any = counting_process.count_and_tell) -> Any:
        setup = {
            "name": name,
            "alias": "default",
            "database": {"NAME": connections["default"].settings_dict["NAME"]},
            "caches": {"redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": shared}},
            "querybudget": {"CACHE": {"ALIAS": "redis"}},
        }
        ours, theirs = actors.CONTEXT.Pipe()
        one = actors.process(does, setup, theirs)
        one.start()
        theirs.close()
        pipes.append((ours, one))
        assert ours.poll(60)
        return ours.recv()

    yield start
    for ours, one in pipes:
        ours.close()
        one.kill()
        one.join()


def test_processes_add_up(process: Callable[[str], Any]) -> None:
    assert process("a") is True
    assert process("b") is True
    sites.site_of("view v").add({"hits": 5, "saved_seconds": 0.25})
    found = by_name(all_processes=True)  # with what this one has not told yet
    assert (found["view v"].hits, found["view v"].saved_seconds) == (25, 1.25)
    assert found["view of a"].misses == found["view of b"].misses == 1
    assert published.publish()
    assert by_name(all_processes=True) == found
    assert published.publish()  # twice is told once
    assert by_name(all_processes=True) == found
    assert cache_stats(all_processes=True).marks == 6
    assert cache_stats().hits == 5


def test_the_command_tells_what_another_process_has_really_read(
    process: Callable[..., Any],
) -> None:
    told, own = process("a", counting_process.read_and_tell)
    assert told is True
    out = StringIO()
    call_command("querybudget", "cache", "stats", "--json", stdout=out)
    found = json.loads(out.getvalue())
    sites_ = {
        each["name"]: [each["hits"], each["misses"], each["bypasses"]] for each in found["sites"]
    }
    assert sites_ == own
    assert found["hits"] + found["misses"] == 5
    assert sum(sum(bypasses.values()) for *_, bypasses in own.values()) == 5
    assert cache_stats().hits == cache_stats().misses == 0  # none of it is this process'


def test_a_process_that_lost_its_slot_takes_another_and_tells_nothing_twice(shared: str) -> None:
    one, other = published.Publisher(), published.Publisher()
    sites.site_of("view v").add({"hits": 5})
    assert one.publish("redis")
    store = store_for("redis")
    store.write("qb:counts:0:held", other._who.encode(), 60)  # it slept for more than a minute
    other._slot, other._told = 0, one._told
    sites.site_of("view v").add({"hits": 1})
    assert one.publish("redis")
    assert one._slot == 1
    assert sum(published._totals(store, slot).stats().hits for slot in (0, 1)) == 6


def test_the_next_process_goes_on_where_one_ended(shared: str) -> None:
    sites.site_of("view v").add({"hits": 5})
    assert published.Publisher().publish("redis")
    caches["redis"].delete("qb:counts:0:held")  # as after a minute
    assert published.Publisher().publish("redis")
    assert published._totals(store_for("redis"), 0).stats().hits == 10


def test_what_stands_there_and_is_not_ours_counts_nothing(shared: str) -> None:
    store = store_for("redis")
    for slot, content in enumerate([b"", b"{}", b"[1]", b'{"since":"x"}', b"\xff", b"7"]):
        store.write(f"qb:counts:{slot}", content, 60)
    assert cache_stats(all_processes=True).hits == 0
    sites.site_of("view v").add({"hits": 5})
    assert published.publish()
    assert cache_stats(all_processes=True).hits == 5


def test_all_can_be_set_to_nothing(shared: str) -> None:
    sites.site_of("view v").add({"hits": 5})
    assert published.publish()
    with pytest.raises(ValueError, match="--reset"):
        cache_stats(reset=True, all_processes=True)
    published.forget_all()
    assert cache_stats(all_processes=True).hits == cache_stats().hits == 0


def test_a_request_tells_where_there_is_no_keeper(shared: str, monkeypatch: Any) -> None:
    sites.site_of("view v").add({"hits": 5})
    monkeypatch.setattr(published._publisher, "due", 0.0)
    request_finished.send(sender=None)
    assert published._totals(store_for("redis"), 0).stats().hits == 0  # the keeper's
    store = store_for("redis")
    monkeypatch.setattr(store, "keeps_beating", False)
    request_finished.send(sender=None)
    assert published._totals(store, 0).stats().hits == 5


def test_the_keeper_tells(shared: str, monkeypatch: Any) -> None:
    list(cached_queryset(Industry.objects.order_by("pk")))
    store = store_for("redis")
    monkeypatch.setattr(published._publisher, "due", 0.0)
    store.tend()
    # It or the keeper's thread, which it may have started.
    deadline = time.monotonic() + 10
    while not published._totals(store, 0).stats().misses and time.monotonic() < deadline:
        time.sleep(0.05)
    assert published._totals(store, 0).stats().misses == 1
