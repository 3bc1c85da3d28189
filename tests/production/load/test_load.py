"""A site under load: what is told of it is what its clients have counted.

The marketplace is served by gunicorn and by uvicorn, with several processes, on PostgreSQL and a
Redis of the test's own. Clients note what each answer's header says. The page, the report,
Prometheus' text and OpenTelemetry's readers have to say the same, view by view; and where workers
are killed and Redis is away, no less than what was answered before the last flush, and no more.

``QUERYBUDGET_SECONDS`` is how long each of it goes on.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db import connections

from accounts.models import CustomUser
from django_querybudget.production.numbers import few
from marketplace import sample_data
from tests.cache.conftest import own_redis
from tests.cache.own_redis import OwnRedis
from tests.production.load import telemetry
from tests.production.load.clients import Answer, Broken, Counts, Crowd, counted
from tests.production.load.pictures import exported, page_of, reported, scraped, timed
from tests.production.load.settings import INTERVAL
from tests.production.load.sites import COMMANDS, WORKERS, Site, serving

__all__ = ["own_redis"]

SECONDS = float(os.environ.get("QUERYBUDGET_SECONDS", "60"))
AWAY = 3.0  # seconds that Redis is away for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once,
    pytest.mark.django_db(transaction=True, databases=["postgres"]),
    pytest.mark.parametrize("server", list(COMMANDS)),
]


def cookie_of(user: CustomUser, backend: str) -> str:
    """Return the session of a user who has logged in."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = backend
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


class Loaded(NamedTuple):
    """A site, and who asks it."""

    site: Site
    crowd: Crowd
    staff: str
    """The cookie of who may see the page."""
    chance: random.Random


@contextmanager
def loaded(server: str, redis: OwnRedis, postgres_url: str) -> Iterator[Loaded]:
    """Serve the marketplace; the crowd is still to be started."""
    seed = int(os.environ.get("QUERYBUDGET_SEED") or secrets.randbits(32))
    print(f"QUERYBUDGET_SEED={seed}")  # noqa: T201  # pytest shows it with a failure
    sample_data.fill(0.2, using="postgres")
    users = list(CustomUser.objects.using("postgres").order_by("pk")[:4])
    CustomUser.objects.using("postgres").filter(pk=users[0].pk).update(is_staff=True)
    backends = ("django.contrib.auth.backends.ModelBackend", "accounts.backends.CachedUserBackend")
    cookies = [cookie_of(user, backend) for user in users for backend in backends]
    database = connections["postgres"].settings_dict["NAME"]
    environment = {
        "DATABASE_URL": urlsplit(postgres_url)._replace(path=f"/{database}").geturl(),
        "REDIS_URL": redis.server.url(),
    }
    with serving(server, environment) as site:
        crowd = Crowd(site.socket, cookies, seed)
        try:
            yield Loaded(site, crowd, cookies[0], random.Random(seed))  # noqa: S311 - the same each time
        finally:
            crowd.stop()


def settled(read: Callable[[], Counts], wanted: Counts) -> Counts:
    """Read until it is as it should be; return what was read last."""
    deadline = time.monotonic() + 30
    while (found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(INTERVAL)
    return found


def test_all_that_is_told_is_what_the_clients_counted(
    server: str, own_redis: OwnRedis, postgres_url: str
) -> None:
    with loaded(server, own_redis, postgres_url) as (site, crowd, staff, _):
        crowd.start()
        time.sleep(SECONDS)
        crowd.stop()
        assert crowd.broken == []
        assert [each for each in crowd.answers if each.status >= 500] == []
        assert len({each.worker for each in crowd.answers}) == WORKERS
        told = counted(crowd.answers)
        assert settled(lambda: scraped(site), told) == told
        assert settled(lambda: reported(site), told) == told
        page = page_of(site, staff)
        assert page.requests == len(crowd.answers)
        assert page.queries == sum(each.queries for each in crowd.answers)
        assert page.shown() == {
            of: (requests, few(queries / requests)) for of, (requests, queries) in told.items()
        }
        site.stop()
        # The last words of the processes change nothing.
        assert reported(site) == told
        assert exported(site) == told
        assert timed(site) == page.queries
    assert len(crowd.answers) > 100


Away = AbstractContextManager[None]


class Trouble:
    """What happens to a site and its Redis."""

    def __init__(self, site: Site, crowd: Crowd, chance: random.Random) -> None:
        self.kills: dict[int, float] = {}
        """Workers, and when they were killed."""
        self.outages: list[tuple[float, float]] = []
        """When Redis went, and when it was back."""
        self._site, self._crowd, self._chance = site, crowd, chance

    def kill(self) -> None:
        """Kill one of two workers or more that answered since the last one was.

        One that has flushed several times, so that there is something that may not be lost.
        """
        last = max(self.kills.values(), default=0.0)
        deadline = time.monotonic() + 120
        answering: set[int] = set()
        while len(answering) < 2:
            assert time.monotonic() < deadline, self._site.told()
            time.sleep(0.1)
            answers = [each for each in self._crowd.answers[-500:] if each.ended > last]
            answering = {
                worker
                for worker in {each.worker for each in answers} - self.kills.keys()
                if min(map(len, telemetry.told(self._site.folder, worker))) > 5
            }
        worker = self._chance.choice(sorted(answering))
        os.kill(worker, signal.SIGKILL)
        self.kills[worker] = time.monotonic()

    def outage(self, away: Callable[[OwnRedis], Away], redis: OwnRedis) -> None:
        """Let Redis be away for a while, in which a worker dies."""
        began = time.monotonic()
        with away(redis):
            time.sleep(AWAY / 2)
            self.kill()
            time.sleep(AWAY / 2)
        self.outages.append((began, time.monotonic()))

    def may_be_lost(self, answer: Answer) -> bool:
        """Whether the answer's worker was killed before a flush that certainly had it was over."""
        killed = self.kills.get(answer.worker)
        return killed is not None and answer.ended > self.kept(answer.worker)

    @cache  # noqa: B019  # of a few workers
    def kept(self, worker: int) -> float:
        """Return until when what a worker answered certainly was told, and is in Redis.

        What came before an exporter is told for the n-th time is in what it is told two times
        later, at the latest: its thread may have been late, so that the next time was waiting
        already. One time more, and that is over; and so is the flush to Redis that had it. Where
        Redis was away in between, it is not known to have come there.
        """
        return min(self._kept(each, worker) for each in telemetry.told(self._site.folder, worker))

    def _kept(self, told: list[float], worker: int) -> float:
        told = [each for each in told if each < self.kills[worker]]
        kept = 0.0
        for before, begun, over in zip(told, told[1:], told[3:], strict=False):
            if not any(away <= over and begun <= back for away, back in self.outages):
                kept = before
        return kept

    def of_killed(self, answers: list[Answer], of: tuple[str, str]) -> list[str]:
        """Say of each answer of a worker that was killed how long before, and what was kept."""
        return [
            f"{self.kills[each.worker] - each.ended:.2f} s before worker {each.worker} was killed, "
            f"what came {self.kills[each.worker] - self.kept(each.worker):.2f} s before is kept"
            for each in answers
            if (each.view, each.method) == of and each.worker in self.kills
        ]

    def explains(self, broken: Broken) -> bool:
        """Whether a worker was killed while it was asked."""
        # A client may see the connection's end before the line that notes the time.
        return any(broken.began <= at and at - 1 <= broken.ended for at in self.kills.values())


def test_killed_workers_and_a_redis_that_is_away_lose_the_last_flush_at_most(
    server: str, own_redis: OwnRedis, postgres_url: str
) -> None:
    with loaded(server, own_redis, postgres_url) as (site, crowd, _, chance):
        trouble = Trouble(site, crowd, chance)
        crowd.start()
        began = time.monotonic()
        outages = [(SECONDS * 0.3, frozen), (SECONDS * 0.6, restarted)]
        while (now := time.monotonic() - began) < SECONDS or outages:
            if outages and now > outages[0][0]:
                trouble.outage(outages.pop(0)[1], own_redis)
            time.sleep(1.0)
            trouble.kill()
        crowd.stop()
        site.stop()
        assert [each for each in crowd.answers if each.status >= 500] == []
        assert [each for each in crowd.broken if not trouble.explains(each)] == []
        told = counted(crowd.answers)
        lost = counted([each for each in crowd.answers if trouble.may_be_lost(each)])
        broken = Counter((each.view, each.method) for each in crowd.broken)
        dearest = Counter[tuple[str, str]]()
        for each in crowd.answers:
            of = each.view, each.method
            dearest[of] = max(dearest[of], each.queries)
        for picture in (reported, scraped, exported):
            read = picture(site)
            for of in told | read:
                requests, queries = read.get(of, (0, 0))
                most, most_queries = told.get(of, (0, 0))
                at_most_lost = lost.get(of, (0, 0))
                why = picture.__name__, of, trouble.of_killed(crowd.answers, of)
                assert most - at_most_lost[0] <= requests <= most + broken[of], why
                assert most_queries - at_most_lost[1] <= queries, why
                assert queries <= most_queries + broken[of] * dearest[of], why
    # And it proves something: of those who died, there is what may not be lost.
    of_killed = [each for each in crowd.answers if each.worker in trouble.kills]
    assert sum(map(trouble.may_be_lost, of_killed)) < len(of_killed)


@contextmanager
def frozen(redis: OwnRedis) -> Iterator[None]:
    """Let Redis take every connection, and answer nobody."""
    assert redis.process is not None
    redis.process.send_signal(signal.SIGSTOP)
    yield
    redis.process.send_signal(signal.SIGCONT)


@contextmanager
def restarted(redis: OwnRedis) -> Iterator[None]:
    """Let Redis be gone, and come back with what it held."""
    redis.stop(keep=True)
    yield
    redis.start()
