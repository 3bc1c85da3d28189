"""What the tests of orders share: a database with rows, an empty Redis, and actors on both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections

from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.stores.tag_keys import tag_key
from tests.cache import locks, programs
from tests.cache.actors import Actor, Network, go, no_one, started
from tests.cache.orders import Diverged, Explorer, Step
from tests.cache.races import Race

MARK_TIMEOUT = 60.0  # seconds: longer than any order takes, so that no mark's end hides a defect


@dataclass
class Stage:
    """Where actors meet."""

    alias: str
    isolation: str
    redis: redis.Redis
    record: Callable[[str, object], None]
    """Notes what the run's summary tells."""

    def actor(self, name: str, *, defect: str = "", knowledge: str = "", **cache: Any) -> Actor:
        """Return an actor that is yet to be started; ``cache`` are settings that differ."""
        connection = connections[self.alias]
        database: dict[str, Any] = {"NAME": str(connection.settings_dict["NAME"])}
        options = locks.options(connection.vendor)
        if self.isolation == "repeatable read":
            options["isolation_level"] = repeatable_read(connection.vendor)
        if options:
            database["OPTIONS"] = {**connection.settings_dict["OPTIONS"], **options}
        setup = {
            "alias": self.alias,
            "database": database,
            "caches": {"redis": dict(settings.CACHES["redis"])},
            "querybudget": querybudget(**cache),
            "defects": [f"tests.cache.defects.{each}" for each in (defect, knowledge) if each],
        }
        return Actor(name, setup)

    @property
    def waiting(self) -> Any:
        if connections[self.alias].vendor == "postgresql":
            return partial(locks.waiting, self.alias)
        return no_one

    def reset(self, *actors: Actor) -> None:
        """Make the rows, the cache and what the actors remember what they were."""
        for actor in actors:
            actor.run("forget")
        programs._execute(self.alias, "UPDATE payment_payment SET amount = 5 * id WHERE id < 4")
        self.redis.flushdb()
        # Nothing fails here: the pulse stands, and is the same at each run of an order.
        self.redis.set(tag_key(PULSE), "1-0 0 0 ? 0")

    def true(self, form: str) -> Decimal:
        return programs.read_the_database(self.alias, form)[0]

    def tag_values(self) -> list[bytes]:
        """Return what stands under all tags: tokens, and the marks of writers."""
        keys = list(self.redis.scan_iter(match="*qb:t:*", count=1000))
        return [value for value in self.redis.mget(keys) if value] if keys else []

    def go(self, actor: Actor, steps: int, among: list[Actor]) -> int:
        """Let an actor take steps, until it is done or waits. Returns how many it took."""
        for taken in range(steps):
            if actor.state != "stopped":
                return taken
            go(actor, among, self.waiting)
        return steps


def querybudget(**cache: Any) -> dict[str, Any]:
    scopes = settings.QUERYBUDGET["CACHE"]["SCOPES"]
    return {"CACHE": {"ALIAS": "redis", "SCOPES": scopes, "MARK_TIMEOUT": MARK_TIMEOUT, **cache}}


def repeatable_read(vendor: str) -> Any:
    if vendor == "postgresql":
        from psycopg import IsolationLevel

        return IsolationLevel.REPEATABLE_READ
    return "repeatable read"


ON_EACH_DATABASE = [
    pytest.param(
        alias,
        isolation,
        id=f"{alias}-{isolation.replace(' ', '-')}",
        marks=pytest.mark.django_db(transaction=True, databases=[alias]),
    )
    for alias, isolation in [
        ("default", "serializable"),
        ("postgres", "read committed"),
        ("postgres", "repeatable read"),
        ("mariadb", "read committed"),
        ("mariadb", "repeatable read"),
    ]
]

# Where the isolation level is of no weight.
ON_EACH_VENDOR = [where for where in ON_EACH_DATABASE if where.values[1] != "repeatable read"]


class Stale(AssertionError):
    """A read that is older than it may be."""


class NeverCached(AssertionError):
    """Nothing was answered from the cache where it could have been: such orders prove nothing."""


def run_race(stage: Stage, race: Race, form: str, **options: Any) -> int:
    """Run all orders of a race whose reader reads by ``form``; return how many there were."""
    return run_all_orders(
        stage,
        (race.reader, form),
        (race.write, 1, 1000),
        warm=race.warm,
        snapshots=race.snapshot,
        **options,
    )


def run_all_orders(
    stage: Stage,
    reader: tuple[str, str],
    *writes: tuple[Any, ...],
    warm: bool = False,
    snapshots: bool = False,
    reduced: bool = True,
    defect: str = "",
    outcomes: list[tuple[list[Step], Any]] | None = None,
    again: str = "read",
    knowledge: str = "",
    **cache: Any,
) -> int:
    """Explore a reader and writers; fail on the first order after which anyone reads the past.

    ``warm``: an entry from before is in the cache. ``snapshots``: the reader's own answers may be
    of its transaction's snapshot. ``outcomes`` receives each order, and what it led to. ``cache``:
    settings that differ. ``again``: the program that fills the cache before, and reads after.
    ``knowledge`` names what of ``tests.cache.defects`` the first writer is told of the tables.
    Returns how many orders there are.

    After each order, what is read last is answered from the cache, or it is an error; and so is at
    least one of the reads within the orders, where there was something to be answered with. From
    the first order again, twice at most, if one does not repeat.
    """
    numbers = range(1, len(writes) + 1)
    scene = _Scene(
        stage,
        reader[1],
        warm=warm,
        snapshots=snapshots,
        again=again,
        read=stage.actor("reader", defect=defect, **cache),
        writers=[
            stage.actor(
                f"writer{number}",
                defect=defect,
                knowledge=knowledge if number == 1 else "",
                **cache,
            )
            for number in numbers
        ],
    )
    plan = {"reader": reader}
    plan |= {actor.name: write for actor, write in zip(scene.writers, writes, strict=True)}
    for attempt in range(3):
        try:
            orders = scene.explore(plan, reduced=reduced)
            break
        except Diverged as error:
            if attempt == 2:
                raise
            # One that is not as it was set has been refreshed, by somebody who is no actor.
            pulse = stage.redis.get(tag_key(PULSE))
            stage.record("again", f"{error}; the pulse is {pulse!r}")
    if (warm or reader[0] == "read_twice") and not scene.hits_within:
        raise NeverCached(f"no read of {orders} orders was a hit")
    if outcomes is not None:
        outcomes += scene.outcomes
    return orders


class _Scene:
    """A reader and writers on a stage, and what their orders have led to."""

    def __init__(
        self,
        stage: Stage,
        form: str,
        *,
        warm: bool,
        snapshots: bool,
        again: str,
        read: Actor,
        writers: list[Actor],
    ) -> None:
        self.stage, self.form, self.warm, self.snapshots = stage, form, warm, snapshots
        self.again = again
        self.read, self.writers = read, writers
        self.actors = [read, *writers]
        for actor in self.actors:
            actor.setup["holding"] = True
        self.begun_late: list[bool] = []
        read.on_begun = self._note_begun  # type: ignore[method-assign]
        self.hits_within = 0
        self.outcomes: list[tuple[list[Step], Any]] = []

    def _note_begun(self) -> None:
        self.begun_late.append(all(writer.state == "idle" for writer in self.writers))

    def explore(self, plan: dict[str, tuple[Any, ...]], *, reduced: bool) -> int:
        """Go through all orders. Returns how many there are."""
        self.hits_within = 0
        self.outcomes.clear()
        with ExitStack() as stack:
            stack.enter_context(started(*self.actors))
            for actor in self.actors:
                actor.run("open_connections")
            explorer = Explorer(
                self.actors,
                plan,
                waiting=self.stage.waiting,
                networks=[Network(actor, self.stage.redis) for actor in self.actors],
                reduced=reduced,
            )
            return explorer.run(self._reset, self._check)

    def _reset(self) -> None:
        self.stage.reset(*self.actors)
        if self.warm:
            self._fill()
        self.read.run("counts")
        self.begun_late.clear()

    def _fill(self) -> None:
        self.read.run(self.again, self.form)
        _, stores, told = self.read.run("counts")
        if not stores:
            raise NeverCached(f"there is no entry to begin with: {told}")

    def _check(self, order: list[Step]) -> None:
        seen_then = list(self.read.result)
        self.hits_within += self.read.run("counts")[0]
        told = "\n".join(map(str, order))
        true = self.stage.true(self.form)
        for seen, late in zip(seen_then, self.begun_late, strict=True):
            if late and seen != true and not self.snapshots:
                raise Stale(
                    f"a read begun after the write returned saw {seen}, not {true}:\n{told}"
                )
        everyone = (*self.actors, self.read)
        seen_after = [actor.run(self.again, self.form) for actor in everyone]
        self.outcomes.append((order, (true, seen_then, list(self.begun_late), seen_after)))
        for actor, seen in zip(everyone, seen_after, strict=True):
            if any(value != true for value in seen):
                raise Stale(f"{actor.name} read {seen}, not {true}, after\n{told}")
        if not self.read.run("counts")[0]:
            raise NeverCached(f"the last read was no hit after\n{told}")
