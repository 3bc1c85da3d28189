"""Processes that run a program step by step: the ground of the tests of interleavings.

An *actor* is a process of its own, with its own connections. It stops before everything that
another process can see: each round trip to Redis, each statement, each COMMIT. The test says which
actor goes next, so an order is chosen, never a matter of luck; :func:`explore` goes through all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 60.0  # seconds: an actor that is silent for so long has a defect
BLOCKED = 0.1  # seconds: an actor that is silent for so long waits for a lock of another's

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.cache.actor_process"])


@dataclass
class Actor:
    """The test's side of an actor."""

    name: str
    setup: dict[str, Any]
    state: str = "idle"  # idle, stopped (before a step), running
    at: str = ""  # what it does next, if it is stopped
    begun: int = 0  # how many reads its program has begun
    result: Any = None
    survives: bool = False  # whether a program that fails is a result, told by ``failure``
    failure: str = ""
    process: Any = field(default=None, repr=False)
    pipe: Any = field(default=None, repr=False)

    def start(self) -> None:
        from tests.cache import actor_process

        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(
            target=actor_process.serve, args=(theirs, self.setup), daemon=True
        )
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
        self.state = "running"
        self.listen(PATIENCE)

    def go(self) -> bool:
        """Let it take its step. Returns False if it is still at it: it waits for a lock."""
        assert self.state == "stopped", self
        self.pipe.send("go")
        self.state = "running"
        return self.listen(BLOCKED)

    def die(self) -> None:
        """End it with SIGKILL, before its step."""
        assert self.state == "stopped", self
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.state = "dead"

    def listen(self, timeout: float) -> bool:
        """Hear what it does, until it stops or is done."""
        while self.pipe.poll(timeout):
            what, value = self.pipe.recv()
            if what == "begun":
                self.begun += 1
                self.on_begun()
            elif what == "at":
                self.state, self.at = "stopped", value
                return True
            elif what == "done":
                self.state, self.result = "idle", value
                return True
            else:
                self.state, self.failure = "idle", value
                assert self.survives, f"{self.name} failed: {value}"
                return True
        return False

    def on_begun(self) -> None:
        """Called when its program begins a read."""

    def run(self, program: str, *arguments: Any) -> Any:
        """Run a program at once, without stops."""
        assert self.state == "idle", self
        self.pipe.send(("run", program, arguments))
        self.state = "running"
        assert self.listen(PATIENCE), f"{self.name} does not answer"
        return self.result


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


def explore(
    actors: list[Actor],
    programs: dict[str, tuple[Any, ...]],
    *,
    reset: Callable[[], None],
    check: Callable[[list[str]], None],
    switches: int | None = None,
) -> int:
    """Run the programs in every order of their steps; return how many orders there are.

    ``reset`` runs before each order and ``check(order)`` after it. ``switches`` bounds how often
    an actor may be put aside while it could go on; without it, all orders are run.
    """
    orders = 0
    prefixes: list[list[str]] = [[]]
    while prefixes:
        reset()
        taken, choices = _run(actors, programs, prefixes.pop())
        orders += 1
        check([f"{name} {what}" for name, what in taken])
        names = [name for name, _ in taken]
        # At each point after the prefix, each other actor that could have gone is a new order.
        for position, (open_there, is_new) in enumerate(choices):
            if not is_new:
                continue
            for other in open_there:
                if other == names[position]:
                    continue
                prefix = [*names[:position], other]
                if switches is None or _switches(prefix, choices) <= switches:
                    prefixes.append(prefix)
    return orders


def _switches(names: list[str], choices: list[tuple[list[str], bool]]) -> int:
    """Count how often an actor was put aside though it could go on."""
    return sum(
        1
        for position in range(1, len(names))
        if names[position] != names[position - 1] and names[position - 1] in choices[position][0]
    )


def _run(
    actors: list[Actor], programs: dict[str, tuple[Any, ...]], prefix: list[str]
) -> tuple[list[tuple[str, str]], list[tuple[list[str], bool]]]:
    """Run one order: ``prefix`` first, then each actor to its end. Returns steps and choices."""
    by_name = {actor.name: actor for actor in actors}
    for actor in actors:
        actor.begin(*programs[actor.name])
    taken: list[tuple[str, str]] = []
    choices: list[tuple[list[str], bool]] = []
    while any(actor.state != "idle" for actor in actors):
        ready = [actor.name for actor in actors if actor.state == "stopped"]
        if not ready:
            waiting = next(actor for actor in actors if actor.state == "running")
            assert waiting.listen(PATIENCE), f"after {taken}, {waiting} is stuck"
            continue
        step = len(taken)
        if step < len(prefix) and prefix[step] in ready:
            chosen = prefix[step]
        else:
            # Whoever went last goes on; so an order is one switch away from its parent.
            chosen = taken[-1][0] if taken and taken[-1][0] in ready else ready[0]
        choices.append((ready, step >= len(prefix)))
        taken.append((chosen, by_name[chosen].at))
        by_name[chosen].go()
        for actor in actors:
            if actor.state == "running":
                actor.listen(0)
    return taken, choices
