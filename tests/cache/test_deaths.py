"""A writer dies at any step; or Redis is cut off at any step, and restored at any later one.

See :mod:`tests.cache.actors`. Once the marks of the dead are over, or Redis is back, everyone
reads what is true; until then they ask the database.
"""

from __future__ import annotations

import itertools
import time

import pytest

from tests.cache.actors import Actor, started
from tests.cache.own_redis import OwnRedis
from tests.cache.stage import ON_EACH_DATABASE, ON_EACH_VENDOR, Stage, Stale

pytestmark = pytest.mark.slow

SOON = 20.0  # seconds after Redis is back; a pause of the library, and some for a busy machine
# Longer than a writer takes from its mark to its death, on a busy machine too.
SHORT_MARKS = {"MARK_TIMEOUT": 1.0}

# What a writer does, step by step. One fewer here, and a death or a cut is not tried.
RENEWAL = "redis CLIENT+EVALSHA"
AUTOCOMMIT = ["start", "redis EVALSHA", "UPDATE", RENEWAL]
STEPS = {
    "save": AUTOCOMMIT,
    "update": AUTOCOMMIT,
    "raw": AUTOCOMMIT,
    "update_in_atomic": ["start", "redis EVALSHA", "UPDATE", "COMMIT", RENEWAL],
}


def steps_of(stage: Stage, write: str) -> list[str]:
    """Return the steps of a write; on SQLite, a transaction begins by a statement."""
    steps = list(STEPS[write])
    if stage.alias == "default" and "COMMIT" in steps:
        steps.insert(1, "BEGIN")
    return steps


@pytest.mark.parametrize("form", ["key", "table"])
@pytest.mark.parametrize("write", ["save", "update", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_r11_a_writer_killed_at_any_step_leaves_nothing_old(
    stage: Stage, write: str, form: str
) -> None:
    assert kill_at_each_step(stage, write, form) == steps_of(stage, write)


@pytest.mark.parametrize(
    "defect",
    [
        "no_mark_is_set",
        "marks_are_not_looked_at",
        "a_mark_comes_after_the_statement",
    ],
)
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_DATABASE[1:2])
def test_r11_finds_a_planted_defect(stage: Stage, defect: str) -> None:
    # The keepers of these actors run, since they are to come back: one that makes a new pulse at
    # the wrong moment hides a defect, by a miss.
    with pytest.raises(Stale, match=r"not \d+"):  # noqa: PT012  # one call, three times
        for _ in range(3):
            kill_at_each_step(stage, "update_in_atomic", "key", defect=defect)


# The forms of a list, and what the writer that dies knows of the foreign key that pins it.
OF_LISTS = [
    ("list", ""),
    ("condition", ""),
    ("list", "no_foreign_key"),
    ("condition", "no_foreign_key"),
    ("condition", "one_foreign_key_less"),
    ("join", ""),
]


@pytest.mark.parametrize(("form", "knowledge"), OF_LISTS)
@pytest.mark.parametrize("write", ["save", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_r11_a_writer_killed_at_any_step_leaves_no_old_list(
    stage: Stage, write: str, form: str, knowledge: str
) -> None:
    found = kill_at_each_step(stage, write, form, knowledge=knowledge)
    assert found == steps_of(stage, write)


def kill_at_each_step(
    stage: Stage, write: str, form: str, defect: str = "", knowledge: str = ""
) -> list[str]:
    """Kill a writer before each of its steps in turn; return what they are."""
    reader = stage.actor("reader", defect=defect, **SHORT_MARKS)
    writer = stage.actor("writer", defect=defect, knowledge=knowledge, **SHORT_MARKS)
    actors = [reader, writer]
    died_at: list[str] = []
    with started(*actors):
        reader.run("open_connections")
        while True:
            writer.run("open_connections")
            stage.reset(*actors)
            reader.run("read", form)
            writer.begin(write, 1, 1000)
            stage.go(writer, len(died_at), actors)
            if writer.state == "idle":
                return died_at
            died_at.append(writer.at)
            writer.die()
            writer.start()
            told = f"it died before {died_at[-1]}"
            compare(stage, form, [reader], f"{told}, a moment ago")
            after_the_marks(stage, form, actors, told)


@pytest.mark.parametrize("loser", ["save", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_r12_of_two_writers_one_dies(stage: Stage, loser: str) -> None:
    assert kill_one_of_two(stage, loser) == 3 * len(steps_of(stage, loser)) - 3


@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_DATABASE[1:2])
def test_r12_finds_a_planted_defect(stage: Stage) -> None:
    with pytest.raises(Stale, match=r"not \d+"):  # one call, three times
        kill_one_of_two(stage, "update_in_atomic", "a_renewal_erases_the_marks_of_others")


@pytest.mark.parametrize(("form", "knowledge"), OF_LISTS)
@pytest.mark.parametrize("loser", ["save", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_r12_of_two_writers_of_a_list_one_dies(
    stage: Stage, loser: str, form: str, knowledge: str
) -> None:
    deaths = kill_one_of_two(stage, loser, form=form, knowledge=knowledge)
    assert deaths == 3 * len(steps_of(stage, loser)) - 3


@pytest.mark.parametrize("knowledge", ["no_foreign_key", "one_foreign_key_less"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_DATABASE[1:2])
def test_r12_finds_a_defect_where_a_writer_knows_less(stage: Stage, knowledge: str) -> None:
    """Of a list without rows: where it has some, their tokens are not read beside a mark."""
    defect = "a_twin_is_repaired_while_a_writer_is_in_flight"
    with pytest.raises(Stale, match=r"not \d+"):  # one call, three times
        kill_one_of_two(
            stage, "update_in_atomic", defect, form="condition", knowledge=knowledge, other=7
        )


def kill_one_of_two(
    stage: Stage,
    loser: str,
    defect: str = "",
    form: str = "table",
    knowledge: str = "",
    other: int = 2000,
) -> int:
    """Kill a writer at each step, while another, at each of three places in it, does its work.

    ``other`` is what that one writes: 2000 brings its row into the list of a condition.

    The survivor's renewal must not erase the mark of the other, who may have committed. Returns
    how many deaths there were.
    """
    reader, dying, living = actors = [
        stage.actor(name, defect=defect, knowledge=knows, **SHORT_MARKS)
        for name, knows in (("reader", ""), ("dying", knowledge), ("living", ""))
    ]
    deaths = 0
    last = len(steps_of(stage, loser)) - 1
    with started(*actors):
        for actor in (reader, living):
            actor.run("open_connections")
        for before, death in itertools.product(range(1, 4), range(1, last + 1)):
            dying.run("open_connections")
            stage.reset(*actors)
            reader.run("read", form)
            dying.begin(loser, 1, 1000)
            living.begin("update_in_atomic", 2, other)
            stage.go(dying, min(before, death), actors)
            stage.go(living, 99, actors)
            reader.run("read", form)
            stage.go(dying, death - min(before, death), actors)
            assert dying.state == "stopped", dying
            told = f"died before {dying.at}, the other wrote after {before} steps"
            dying.die()
            dying.start()
            deaths += 1
            # What held the lock is gone, and its server knows a moment later.
            while living.state == "waiting":
                living.step(stage.waiting)
            stage.go(living, 99, actors)
            assert living.state == "idle", living
            compare(stage, form, [reader], f"{told}, a moment ago")
            after_the_marks(stage, form, actors, told)
    return deaths


def after_the_marks(stage: Stage, form: str, actors: list[Actor], told: str) -> None:
    """Wait until the marks of the dead are over; everyone has to read what is true."""
    deadline = time.monotonic() + 2 * SHORT_MARKS["MARK_TIMEOUT"]
    while any(b"|" in value for value in stage.tag_values()):
        if time.monotonic() > deadline:
            break  # one that does not end is a defect of its own: see what it leads to
        time.sleep(0.02)
    compare(stage, form, [*actors, *actors], told)


def compare(stage: Stage, form: str, actors: list[Actor], told: str) -> None:
    for actor in actors:
        seen, true = actor.run("read", form)[0], stage.true(form)
        if seen != true:
            raise Stale(f"{actor.name} read {seen}, not {true}: {told}")


@pytest.mark.parametrize("write", ["save", "update", "raw", "update_in_atomic"])
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
    tried: list[tuple[str, str]] = []
    steps = steps_of(stage, write)
    with started(*actors):
        for cut_at in range(len(steps)):
            more = True
            restored_after = 0
            while more:
                make_all_right(stage, actors, write=True)
                writer.begin(write, 1, 1000 + len(tried))
                stage.go(writer, cut_at, actors)
                cut_before = writer.at
                assert cut_before == steps[cut_at]
                own_redis.cut()
                restored_after += 1
                go_on(stage, writer, restored_after, actors)
                more = writer.state != "idle"
                restored_before = writer.at if more else "end"
                reader.run("read", "key")
                own_redis.restore()
                stage.go(writer, 99, actors)
                assert writer.state == "idle"
                make_all_right(stage, actors)
                tried.append((cut_before, restored_before))
    assert tried == cuts(steps), tried


def go_on(stage: Stage, writer: Actor, steps: int, actors: list[Actor]) -> None:
    """Let the writer take steps; a mark that it tries again and again is one."""
    for _ in range(steps):
        before = writer.at
        stage.go(writer, 1, actors)
        while writer.state == "stopped" and writer.at == before:
            stage.go(writer, 1, actors)


def cuts(steps: list[str]) -> list[tuple[str, str]]:
    """Return each step before which Redis is cut, with each later one before which it is back.

    The first that is sent after the cut finds it out. A mark is tried until it is known that nobody
    trusts the cache; the renewal after it is owed, and put by another thread: after it, no more
    steps are at Redis.
    """
    found = []
    for position, step in enumerate(steps):
        is_noticed = step.startswith("redis")
        for later in [*steps[position + 1 :], "end"]:
            if later.startswith("redis"):
                if is_noticed:
                    continue
                is_noticed = True
            found.append((step, later))
    return found


def make_all_right(stage: Stage, actors: list[Actor], *, write: bool = False) -> None:
    """Let everyone read until all are right, or fail; then once more, now without patience."""
    if write:
        actors[1].run("update", 1, 5)
    true = stage.true("key")
    deadline = time.monotonic() + SOON
    while any(actor.run("read", "key") != [true] for actor in actors):
        assert time.monotonic() < deadline, f"not everyone reads {true} after {SOON} seconds"
        time.sleep(0.1)
    for actor in (*actors, *actors):
        assert actor.run("read", "key") == [true], actor.name
    if write:
        while not all(actor.run("trusts") for actor in actors):
            assert time.monotonic() < deadline, f"not everyone is back after {SOON} seconds"
            time.sleep(0.1)
