"""Processes that run a program step by step: the ground of the tests of interleavings.

An *actor* is a process of its own, with its own connections. It stops before everything that
another process can see: each round trip to Redis, each statement, each COMMIT and ROLLBACK. The
test says which actor goes next, so an order is chosen, never a matter of luck;
:func:`tests.cache.orders.explore` goes through all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from typing import Any

import redis

from tests.cache.footprints import NOTHING, Footprint, changes, reads

PATIENCE = 60.0  # seconds: an actor that is silent for so long has a defect

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.cache.actor_process"])


def process(target: Callable[..., None], *arguments: Any) -> Any:
    """Return a process that has Django set up when it starts: the fork server's child."""
    before = os.environ.get("PYTHONPATH")
    # Before Python 3.13.1 the server looks for what it loads on its own path alone, finds nothing,
    # and says nothing (gh-126631): each process sets Django up anew then, which takes a second.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return CONTEXT.Process(target=target, args=arguments, daemon=True)


class Failed(AssertionError):
    """A program that raised; the message is its traceback."""


@dataclass
class Actor:
    """The test's side of an actor."""

    name: str
    setup: dict[str, Any]
    state: str = "idle"  # idle; stopped before a step; running; waiting for a lock; dead
    at: str = ""  # what it does next, if it is stopped
    begun: int = 0  # how many reads its program has begun
    result: Any = None
    survives: bool = False  # whether a program that fails is a result, told by ``failure``
    failure: str = ""
    touched: Footprint = NOTHING  # what its last step did
    _ahead: Footprint = NOTHING  # what it does next
    under_way: list[tuple[bytes, Footprint]] = field(default_factory=list, repr=False)
    process: Any = field(default=None, repr=False)
    pipe: Any = field(default=None, repr=False)

    def start(self) -> None:
        from tests.cache import actor_process

        self.pipe, theirs = CONTEXT.Pipe()
        self.process = process(actor_process.serve, theirs, self.setup)
        self.process.start()
        theirs.close()
        self.state = "idle"

    def stop(self) -> None:
        if self.process is not None:
            if self.process.pid is not None:
                self.process.kill()
                self.process.join()
            self.pipe.close()
            self.process = None

    def begin(self, program: str, *arguments: Any) -> None:
        """Start a program; it stops before its first step."""
        assert self.state == "idle", self
        self.begun, self.result, self.failure = 0, None, ""
        self.pipe.send(("step", program, arguments))
        self._listen()

    def step(self, waiting: Callable[[], int] = lambda: 0, known: int = 0) -> None:
        """Let it take its step: until it stops again, is done, or waits for a lock.

        ``waiting`` says how many do so in the database; ``known`` of them are others.
        """
        assert self.state in {"stopped", "waiting"}, self
        if self.state == "stopped":
            self.touched, self._ahead = self._ahead, NOTHING
        self.pipe.send("go")
        self._listen(waiting, known)

    def die(self) -> None:
        """End it with SIGKILL, before its step."""
        assert self.state == "stopped", self
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.state = "dead"

    def _listen(self, waiting: Callable[[], int] = lambda: 0, known: int = 0) -> None:
        self.state = "running"
        deadline = time.monotonic() + PATIENCE
        while not self.hear(0.003):
            if waiting() > known:
                self.state = "waiting"
                return
            assert time.monotonic() < deadline, f"{self} does not answer"

    def hear(self, timeout: float) -> bool:
        """Hear what it does, until it stops, waits or is done; False if ``timeout`` is over."""
        while self.pipe.poll(timeout):
            what, value = self.pipe.recv()
            if what == "begun":
                self.begun += 1
                self.touched |= reads("returned:*")
                self.on_begun()
            elif what == "at":
                self.state = "stopped"
                self.at, self._ahead = value
                return True
            elif what == "sends":
                self.under_way.append(value)
            elif what == "waits":
                self.state = "waiting"
                return True
            else:
                self.state = "idle"
                self.touched |= changes(f"returned:{self.name}")
                if what == "done":
                    self.result = value
                else:
                    self.failure = value
                    if not self.survives:
                        raise Failed(f"{self.name} failed: {value}")
                return True
        return False

    def on_begun(self) -> None:
        """Called when its program begins a read."""

    def run(self, program: str, *arguments: Any) -> Any:
        """Run a program at once, without stops."""
        assert self.state == "idle", self
        self.pipe.send(("run", program, arguments))
        self._listen()
        return self.result


class Network:
    """What an actor has sent to Redis and not waited for: it arrives at any later time.

    A renewal arrives before the next mark or renewal of the actor's, which takes the same
    connection. An entry may be overtaken by whatever the process does in other threads.
    """

    def __init__(self, actor: Actor, server: redis.Redis) -> None:
        self.actor = actor
        self.server = server
        self.name = f"{actor.name}'s message"
        self.at = "arrives"
        self.touched = NOTHING

    @property
    def state(self) -> str:
        return "stopped" if self.actor.under_way else "idle"

    @property
    def holds_up(self) -> bool:
        """Whether the actor cannot go on before this has arrived."""
        return self.actor.at.endswith("EVALSHA") and any(
            b"EVALSHA" in packed for packed, _ in self.actor.under_way
        )

    def step(self, waiting: Callable[[], int] = lambda: 0, known: int = 0) -> None:
        del waiting, known
        packed, self.touched = self.actor.under_way.pop(0)
        connection = self.server.connection_pool.get_connection()
        try:
            connection.send_packed_command([packed + b"*1\r\n$4\r\nPING\r\n"])
            while (answer := connection.read_response()) != b"PONG":
                assert answer == b"OK"  # an entry
        finally:
            self.server.connection_pool.release(connection)


def go(
    actor: Actor | Network, among: Iterable[Actor | Network], waiting: Callable[[], int]
) -> Footprint:
    """Let an actor take one step, and those that waited for it go on; return all they touched."""
    others = [each for each in among if each is not actor and isinstance(each, Actor)]
    actor.step(waiting, sum(other.state == "waiting" for other in others))
    touched = actor.touched
    if "locks" not in touched.changes:
        return touched
    # Whoever it has kept waiting goes on by itself, and may let go another.
    moved = True
    while moved:
        moved = False
        waits = [each for each in (actor, *others) if each.state == "waiting"]
        waits = [each for each in waits if isinstance(each, Actor)]
        if waiting is not no_one:
            while len(waits) > waiting():
                if went_on := [other for other in waits if other.hear(0.001)]:
                    moved = True
                    waits = [other for other in waits if other not in went_on]
                    for other in went_on:
                        touched |= other.touched
            continue
        for other in waits:
            if other is not actor:
                other.step()
                if other.state != "waiting":
                    moved = True
                    touched |= other.touched
    return touched


def no_one() -> int:
    """Where actors say themselves that they would have to wait, the database is not asked."""
    return 0


@contextmanager
def started(*actors: Actor) -> Iterator[None]:
    """Start actors, and end them."""
    try:
        for actor in actors:
            actor.start()
        yield
    finally:
        for actor in actors:
            actor.stop()
