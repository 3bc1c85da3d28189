"""All orders of a read and a write through two processes, step by step; R1 to R13 are among them.

See :mod:`tests.cache.actors`. After each order, every process reads through the cache what the
database says; and a read that began after the write had returned has seen it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections

from tests.cache import programs, world
from tests.cache.actors import BLOCKED, PATIENCE, Actor, explore, started
from tests.cache.own_redis import OwnRedis
from tests.cache.races import RACES, Race

pytestmark = pytest.mark.slow

# How often a process is put aside while it could go on. Every defect that was planted is found
# with two; all orders of the shorter programs are run below.
SWITCHES = 2
MARK_TIMEOUT = 60.0  # seconds: longer than any order takes, so that no mark's end hides a defect


SOON = 15.0  # seconds after Redis is back; a pause of the library, and some for a busy machine
SHORT_MARKS = {"MARK_TIMEOUT": 0.3}


def querybudget(**cache: Any) -> dict[str, Any]:
    scopes = settings.QUERYBUDGET["CACHE"]["SCOPES"]
    return {"CACHE": {"ALIAS": "redis", "SCOPES": scopes, "MARK_TIMEOUT": MARK_TIMEOUT, **cache}}


@dataclass
class Stage:
    """A database with its rows, an empty Redis, and actors on both."""

    alias: str
    isolation: str
    redis: redis.Redis
    actors: list[Actor] = field(default_factory=list)
    late: list[int] = field(default_factory=list)

    def actor(self, name: str, **cache: Any) -> Actor:
        """Return an actor that is yet to be started."""
        connection = connections[self.alias]
        database: dict[str, Any] = {"NAME": str(connection.settings_dict["NAME"])}
        if self.isolation == "repeatable read":
            database["OPTIONS"] = {"isolation_level": repeatable_read(connection.vendor)}
        setup = {
            "alias": self.alias,
            "database": database,
            "caches": {"redis": dict(settings.CACHES["redis"])},
            "querybudget": querybudget(**cache),
        }
        return Actor(name, setup)

    def reset(self) -> None:
        """Make the rows and the cache what they were, past the library."""
        for pk in (1, 2, 3):
            programs._execute(
                self.alias, "UPDATE payment_payment SET amount = %s WHERE id = %s", [5 * pk, pk]
            )
        self.redis.flushdb()

    def true(self, form: str) -> Decimal:
        return programs.read_the_database(self.alias, form)[0]


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


@pytest.fixture
def stage(alias: str, isolation: str, redis_url: str, db: None) -> Iterator[Stage]:
    del db
    if connections[alias].vendor == "sqlite":
        programs._execute(alias, "PRAGMA journal_mode = WAL")
    world.fill(alias)
    with redis.Redis.from_url(redis_url) as client:
        yield Stage(alias, isolation, client)


def run_all_orders(
    stage: Stage,
    reader: tuple[str, str],
    *writes: tuple[Any, ...],
    warm: bool = False,
    switches: int | None = None,
    snapshots: bool = False,
    **cache: Any,
) -> int:
    """Explore a reader and writers; fail on the first order after which anyone reads the past.

    ``snapshots``: the reader's own answers may be of its transaction's snapshot. ``cache``:
    settings that differ.
    """
    _, form = reader
    readers = [stage.actor("reader", **cache)]
    writers = [stage.actor(f"writer{number}", **cache) for number, _ in enumerate(writes, start=1)]
    begun_late: list[bool] = []
    readers[0].on_begun = lambda: begun_late.append(  # type: ignore[method-assign]
        all(writer.state == "idle" and writer.result != "not yet" for writer in writers)
    )

    def reset() -> None:
        stage.reset()
        if warm:
            readers[0].run("read", form)
        begun_late.clear()
        for writer in writers:
            writer.state = "idle"

    def check(order: list[str]) -> None:
        true = stage.true(form)
        for seen, late in zip(readers[0].result, begun_late, strict=True):
            assert snapshots or not late or seen == true, (
                f"a read begun after the write had returned saw {seen}, not {true}:\n"
                + "\n".join(order)
            )
        for actor in [*readers, *writers, *readers]:
            seen = actor.run("read", form)[0]
            assert seen == true, f"{actor.name} read {seen}, not {true}, after\n" + "\n".join(order)

    with ExitStack() as stack:
        stack.enter_context(started(*readers, *writers))
        for actor in [*readers, *writers]:
            actor.run("open_connections")
        plan = {readers[0].name: reader}
        plan |= {actor.name: write for actor, write in zip(writers, writes, strict=True)}
        return explore([*readers, *writers], plan, reset=reset, check=check, switches=switches)


VENDORS = {"default": "sqlite", "postgres": "postgresql", "mariadb": "mysql"}


@pytest.mark.parametrize(
    ("alias", "isolation", "race"),
    [
        pytest.param(*where.values, race, marks=where.marks, id=f"{name}-{where.id}")
        for name, race in RACES.items()
        for where in ON_EACH_DATABASE
        if VENDORS[str(where.values[0])] in race.vendors
    ],
)
def test_race(stage: Stage, race: Race, record_property: Any) -> None:
    """R1 to R10 and R13, by their names in the test's id."""
    orders = run_all_orders(
        stage,
        (race.reader, "key"),
        (race.write, 1, 1000),
        warm=race.warm,
        snapshots=race.snapshot,
        switches=SWITCHES,
    )
    assert orders > 4
    record_property("orders", orders)


@pytest.mark.parametrize("form", ["key", "scope", "table"])
@pytest.mark.parametrize("write", ["save", "update", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_DATABASE)
def test_no_order_leaves_the_past_under_any_form_of_tags(
    stage: Stage, write: str, form: str, record_property: Any
) -> None:
    orders = run_all_orders(stage, ("read", form), (write, 1, 1000))
    orders += run_all_orders(stage, ("read_twice", form), (write, 1, 1000), warm=True)
    record_property("orders", orders)


@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
@pytest.mark.parametrize("name", ["R1", "R2", "R2b", "R3", "R5", "R7", "R8", "R9"])
def test_race_with_in_flight_marks_turned_off(
    stage: Stage, name: str, record_property: Any
) -> None:
    """They are there for writers that die; no one dies here, and tokens alone have to do."""
    race = RACES[name]
    orders = run_all_orders(
        stage,
        (race.reader, "table"),
        (race.write, 1, 1000),
        warm=race.warm,
        snapshots=race.snapshot,
        switches=SWITCHES,
        IN_FLIGHT_MARKS=False,
    )
    record_property("orders", orders)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("save", "save"),
        ("save", "update_in_atomic"),
        ("update_in_atomic", "update_in_atomic"),
        ("update_in_atomic", "roll_back"),
        ("write_in_commit_hook", "save"),
    ],
)
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_no_order_of_two_writers_leaves_the_past(
    stage: Stage, first: str, second: str, record_property: Any
) -> None:
    # SQLite lets one writer wait for the other: most orders are the same one there.
    switches = 1 if stage.alias == "default" else 2
    orders = run_all_orders(
        stage, ("read", "table"), (first, 1, 1000), (second, 2, 2000), switches=switches
    )
    record_property("orders", orders)


@pytest.mark.parametrize("form", ["key", "table"])
@pytest.mark.parametrize("write", ["save", "update", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_r11_a_writer_killed_at_any_step_leaves_nothing_old(
    stage: Stage, write: str, form: str
) -> None:
    """Once the marks of the dead are over; until then readers ask the database."""
    reader, writer = stage.actor("reader", **SHORT_MARKS), stage.actor("writer", **SHORT_MARKS)
    died_at: list[str] = []
    with started(reader, writer):
        reader.run("open_connections")
        while True:
            stage.reset()
            reader.run("read", form)
            writer.run("open_connections")
            writer.begin(write, 1, 1000)
            _go(writer, len(died_at) + 1)
            if writer.state == "idle":
                break
            died_at.append(writer.at)
            writer.die()
            writer.start()
            reader.run("read", form)
            after_the_marks(stage, form, [reader, writer], f"it died before {died_at[-1]}")
    assert len(died_at) >= 3, died_at


@pytest.mark.parametrize("loser", ["save", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_r12_of_two_writers_one_dies(stage: Stage, loser: str) -> None:
    """The survivor's renewal must not erase the mark of the other, who may have committed."""
    reader, dying, living = (stage.actor(name, **SHORT_MARKS) for name in ("r", "dying", "living"))
    deaths = 0
    with started(reader, dying, living):
        for actor in (reader, living):
            actor.run("open_connections")
        for before, first, between in itertools.product(range(1, 4), (2, 99), range(1, 4)):
            stage.reset()
            reader.run("read", "table")
            dying.run("open_connections")
            dying.begin(loser, 1, 1000)
            living.begin("update_in_atomic", 2, 2000)
            _go(dying, before)
            _go(living, first)
            reader.run("read", "table")
            _go(dying, between)
            if dying.state == "stopped":
                dying.die()
                dying.start()
                deaths += 1
            _go(living, 99, PATIENCE)
            _go(dying, 99, PATIENCE)
            assert living.state == dying.state == "idle"
            reader.run("read", "table")
            told = f"{before} steps, the other's {first}, {between} steps"
            after_the_marks(stage, "table", [reader, living, dying], told)
    assert deaths > 3


@pytest.mark.parametrize("write", ["save", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR[1:2])
def test_redis_cut_off_at_any_step_of_a_write_and_restored_at_any_later(
    stage: Stage, write: str, own_redis: OwnRedis
) -> None:
    """The writer gets no error; once Redis is back, everyone soon reads what is true, and stays.

    ``reader`` reads while Redis is away, ``bystander`` does nothing then.
    """
    actors = [stage.actor(name, **SHORT_MARKS) for name in ("reader", "writer", "bystander")]
    reader, writer, _ = actors
    for actor in actors:
        actor.setup["caches"]["redis"]["LOCATION"] = own_redis.server.url()
    cut_at, steps, tried = 1, 99, 0
    with started(*actors):
        while cut_at < steps:
            for restored_at in range(cut_at + 1, steps + 1):
                _make_all_right(stage, actors)
                writer.begin(write, 1, 1000 + tried)
                _go(writer, cut_at)
                own_redis.cut()
                taken = cut_at
                while taken < restored_at and writer.state == "stopped":
                    _go(writer, 1)
                    taken += 1
                reader.run("read", "key")
                own_redis.restore()
                _go(writer, 99, PATIENCE)
                assert writer.state == "idle"
                _make_all_right(stage, actors, write=False)
                tried += 1
                if taken < restored_at:
                    steps = taken
                    break
            cut_at += 1
    assert tried >= 3


def _make_all_right(stage: Stage, actors: list[Actor], *, write: bool = True) -> None:
    """Let everyone read until all are right, or fail; then once more, now without patience."""
    if write:
        actors[0].run("open_connections")
        actors[1].run("open_connections")
        stage.reset()
        actors[0].run("update", 1, 5)
    true = stage.true("key")
    deadline = time.monotonic() + SOON
    while any(actor.run("read", "key") != [true] for actor in actors):
        assert time.monotonic() < deadline, f"not everyone reads {true} after {SOON} seconds"
        time.sleep(0.1)
    for actor in (*actors, *actors):
        assert actor.run("read", "key") == [true], actor.name


def after_the_marks(stage: Stage, form: str, actors: list[Actor], told: str) -> None:
    """Wait until the marks of the dead are over; everyone has to read what is true."""
    time.sleep(SHORT_MARKS["MARK_TIMEOUT"] * 1.2)
    for actor in (*actors, *actors):
        seen, true = actor.run("read", form)[0], stage.true(form)
        assert seen == true, f"{actor.name} read {seen}, not {true}: {told}"


def _go(actor: Actor, steps: int, patience: float = BLOCKED) -> None:
    """Let it take steps, until it is done, or waits for a lock of another's."""
    for _ in range(steps):
        if actor.state == "running":
            actor.listen(patience)
        if actor.state == "stopped":
            actor.go()
    if actor.state == "running":
        actor.listen(patience)
