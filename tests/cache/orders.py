"""All orders of the steps of actors, but only one of each set that no one can tell apart.

Two steps that do not depend on one another (:mod:`tests.cache.footprints`) lead to the same state
in either order, so orders that differ only in such neighbours are one order: a *trace*. Sleep sets
(Godefroid, 1996) go through exactly one order of each trace. At a point where A and B could go,
and A has been tried with all that may follow, the orders that begin with B leave A asleep until
something that A depends on has happened: before that, A would only make an order that was run.

That is sound here for three reasons. What an actor does is decided by what it has read, and every
read is a step with a footprint. A step's footprint does not change while only steps happen that it
does not depend on. And no such step lets another go on or makes it wait, since ``locks`` is a
thing that both touch. Clocks are no thing: the library compares them with margins of a second and
more, and an order takes milliseconds. Each order begins in the same state and has to repeat, step
by step; one that does not is an error (:class:`Diverged`), so that nothing is skipped by chance. A
machine that stands still for longer than those margins makes one, too: then all orders are gone
through again, from the first.

What is sent to Redis and not waited for (a renewal where the writer's mark stands) arrives in a
step of its own, which is no step of its writer: :class:`tests.cache.actors.Network`.

``test_reduction`` runs all orders of short programs, and finds the same traces and, within each
trace, the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.cache.actors import Actor, Network, go, no_one
from tests.cache.footprints import Footprint

Programs = dict[str, tuple[Any, ...]]


class Diverged(AssertionError):
    """An order that did not go as it went before: a clock's doing, or a defect."""


@dataclass(frozen=True)
class Step:
    """Who did what, and what it touched."""

    name: str
    what: str
    touched: Footprint

    def __str__(self) -> str:
        return f"{self.name} {self.what}"

    def depends_on(self, other: Step) -> bool:
        return self.name == other.name or self.touched.depends_on(other.touched)


@dataclass
class _Point:
    """A point that an order has come to: what was tried there, and what is yet to be."""

    steps: tuple[Step, ...]
    asleep: tuple[Step, ...]
    tried: list[Step]
    open: list[str] = field(default_factory=list)


class Explorer:
    """Goes through the orders of the programs of some actors."""

    def __init__(
        self,
        actors: list[Actor],
        programs: Programs,
        *,
        waiting: Callable[[], int] = no_one,
        networks: Iterable[Network] = (),
        reduced: bool = True,
    ) -> None:
        self.actors: dict[str, Actor | Network] = {actor.name: actor for actor in actors}
        self.networks = list(networks)
        self.actors |= {network.name: network for network in self.networks}
        self.programs = programs
        self.waiting = waiting
        self.reduced = reduced
        self.orders = 0
        self.repeated = 0

    def run(self, reset: Callable[[], None], check: Callable[[list[Step]], None]) -> int:
        """Run all orders: ``reset`` before each, ``check(order)`` after. Returns how many."""
        points = [_Point((), (), [], [""])]
        while points:
            point = points[-1]
            if not point.open:
                points.pop()
                continue
            reset()
            points += self._one(point, point.open.pop(), check)
        return self.orders

    def _one(self, point: _Point, first: str, check: Callable[[list[Step]], None]) -> list[_Point]:
        """Run one order: to ``point``, ``first``, then on. Returns the points that it came to."""
        for name, program in self.programs.items():
            actor = self.actors[name]
            assert isinstance(actor, Actor)
            actor.begin(*program)
        taken: list[Step] = []
        for before in point.steps:
            taken.append(step := self._take(before.name))
            if step != before:
                told = [*map(str, taken[:-1])]
                raise Diverged(f"{step!r} instead of {before!r} after {told}")
        asleep = (*point.asleep, *point.tried) if first else ()
        if first:
            taken.append(step := self._take(first))
            point.tried.append(step)
            asleep = self._still_asleep(asleep, step)
        found: list[_Point] = []
        while ready := self._ready():
            awake = [name for name in ready if all(step.name != name for step in asleep)]
            if not awake:
                break
            # Whoever went last goes on: most orders then differ little from the one before.
            chosen = taken[-1].name if taken and taken[-1].name in awake else awake[0]
            here = _Point(tuple(taken), asleep, [], [name for name in awake if name != chosen])
            taken.append(step := self._take(chosen))
            here.tried.append(step)
            found.append(here)
            asleep = self._still_asleep(asleep, step)
        if all(actor.state == "idle" for actor in self.actors.values()):
            self.orders += 1
            check(taken)
        else:
            self.repeated += 1
            self._finish()
        return found

    def _ready(self) -> list[str]:
        held_up = {network.actor.name for network in self.networks if network.holds_up}
        ready = [name for name, actor in self.actors.items() if actor.state == "stopped"]
        return [name for name in ready if name not in held_up]

    def _take(self, name: str) -> Step:
        actor = self.actors[name]
        if actor.state != "stopped":
            raise Diverged(f"{actor} cannot go")
        what = actor.at
        return Step(name, what, go(actor, self.actors.values(), self.waiting))

    def _still_asleep(self, asleep: Iterable[Step], step: Step) -> tuple[Step, ...]:
        if not self.reduced:
            return ()
        return tuple(sleeper for sleeper in asleep if not sleeper.depends_on(step))

    def _finish(self) -> None:
        """Bring all to their ends, after an order that would only repeat another."""
        while ready := self._ready():
            self._take(ready[0])
        assert all(actor.state == "idle" for actor in self.actors.values()), self.actors


def trace(order: list[Step]) -> frozenset[tuple[tuple[str, int], tuple[str, int]]]:
    """Return what orders that no one can tell apart have in common: who of two came first."""
    counts: dict[str, int] = {}
    events = []
    for step in order:
        counts[step.name] = counts.get(step.name, 0) + 1
        events.append(((step.name, counts[step.name]), step))
    return frozenset(
        (earlier, later)
        for position, (later, step) in enumerate(events)
        for earlier, before in events[:position]
        if step.depends_on(before)
    )
