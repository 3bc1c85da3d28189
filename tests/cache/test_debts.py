"""What a process knows of a cache that fails, and owes to it; and how the pulse is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_querybudget.cache.stores import debts as module
from django_querybudget.cache.stores.debts import CHAIN, MANY, Debts, Outage
from django_querybudget.cache.stores.pulse import Beat, beat_of

pytestmark = pytest.mark.once


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "monotonic", clock)
        yield clock


def test_an_outage_begins_with_the_first_attempt_that_failed(clock: Clock) -> None:
    outage = Outage()
    assert (outage.began, outage.lasted(), outage.is_fresh(10**9)) == (None, 0.0, False)
    assert (outage.is_unreachable, outage.is_settled) == (False, False)
    outage.failed(999.5, unreachable=True)
    assert (outage.began, outage.lasted()) == (999.5, 0.0)
    assert outage.is_unreachable
    clock.now += 0.7
    outage.failed(1000.2, unreachable=True)
    assert (outage.began, outage.lasted()) == (999.5, pytest.approx(0.7))
    outage.failed(1000.6, unreachable=False)
    assert (outage.began, outage.lasted()) == (999.5, pytest.approx(1.1))
    assert not outage.is_unreachable
    outage.over()
    assert (outage.began, outage.lasted(), outage.is_unreachable) == (None, 0.0, False)
    outage.failed(1000.9, unreachable=True)  # however soon: another one
    assert outage.began == 1000.9


@pytest.mark.parametrize(("gap", "is_one"), [(CHAIN, True), (CHAIN + 0.01, False)])
def test_failures_that_are_far_apart_do_not_show_one_outage(
    clock: Clock, gap: float, is_one: bool
) -> None:
    """Between two of them the server may have answered others."""
    outage = Outage()
    outage.failed(1000.0, unreachable=True)
    outage.is_settled = True
    clock.now += 5
    outage.failed(1000.0 + gap, unreachable=True)
    assert outage.began == (1000.0 if is_one else 1000.0 + gap)
    assert outage.is_settled is is_one


def test_after_an_answer_the_next_failure_begins_anew(clock: Clock) -> None:
    outage = Outage()
    outage.failed(1000.0, unreachable=True)
    outage.is_settled = True
    outage.answered()
    assert outage.began == 1000.0  # no change was taken: it is distrusted all the same
    assert not outage.is_unreachable
    assert not outage.is_settled
    assert not outage.is_fresh(10**9)
    clock.now += 0.1
    outage.failed(1000.1, unreachable=True)
    assert outage.began == 1000.1
    outage.is_settled = True
    outage.over()
    assert not outage.is_settled


def test_a_failure_is_fresh_for_a_while_and_while_it_is_tried_again(clock: Clock) -> None:
    outage = Outage()
    outage.failed(990.0, unreachable=True)
    clock.now += 1
    assert outage.is_fresh(1.1)
    assert not outage.is_fresh(1.0)
    outage.is_trying = True
    assert outage.is_fresh(0.0)


def test_a_writer_in_flight_gathers_its_tags(clock: Clock) -> None:
    debts = Debts()
    flight = debts.takes_off("w", ["a"], 30.0)
    clock.now += 10
    assert debts.takes_off("w", ["b"], 30.0) is flight
    assert (flight.tags, flight.timeout, flight.marked_at) == ({"a", "b"}, 30.0, 1010.0)
    assert not debts
    flight.is_unmarked = True
    assert debts
    assert debts.takes_off("other", ["c"], 5.0).tags == {"c"}


def test_writers_that_were_never_heard_of_again_are_forgotten(clock: Clock) -> None:
    """When there are many. Of a few, each may be slow."""
    debts = Debts()
    for number in range(MANY - 1):
        debts.takes_off(str(number), ["a"], 30.0)
    clock.now += 30.0
    debts.takes_off("young", ["a"], 30.0)
    assert len(debts.flights) == MANY
    debts.takes_off("one more", ["a"], 30.0)
    assert len(debts.flights) == MANY + 1  # their marks may still hold
    clock.now += 0.1
    debts.takes_off("another", ["a"], 30.0)
    assert set(debts.flights) == {"young", "one more", "another"}
    clock.now += 100.0
    debts.takes_off("one of few", ["a"], 30.0)
    assert len(debts.flights) == 4
    for number in range(MANY - 4):
        debts.takes_off(str(number), ["a"], 30.0)
    assert len(debts.flights) == MANY
    debts.takes_off("last", ["a"], 30.0)
    assert len(debts.flights) == MANY - 2


def test_what_is_owed_is_taken_once(clock: Clock) -> None:
    debts = Debts()
    assert debts.take() is None
    debts.owe("w", ["a"], list)
    debts.owe("w", ["b"], list)
    assert debts
    assert debts.take() == ("w", frozenset({"a", "b"}))
    assert debts.take() is None
    assert not debts


def test_many_tags_are_owed_as_everything(clock: Clock) -> None:
    debts = Debts()

    def everything() -> list[str]:
        return ["d:*", "e:*"]

    debts.owe("w", [str(number) for number in range(MANY)], everything)
    assert "w" in debts.owed
    assert debts.take() is not None
    debts.owe("w", [str(number) for number in range(MANY)], everything)
    debts.owe("v", ["one more"], everything)
    assert debts.owed == {"": frozenset({"d:*", "e:*"})}
    debts.owe("u", ["a"], everything)
    assert debts.owed.keys() == {"", "u"}
    debts.owe("t", [str(number) for number in range(MANY - 3)], everything)
    assert debts.owed.keys() == {"", "u", "t"}  # with the two of everything, as many as may be
    debts.owe("s", ["b"], everything)
    assert debts.owed.keys() == {""}


@pytest.mark.parametrize(
    ("text", "beat"),
    [
        ("1-a 7 123 abc 0", Beat("1-a", 0, "7", False)),
        ("1-a ? 123 abc 1", Beat("1-a", 0, "?", True)),
        ("1-a 7 123  0", Beat("1-a", 0, "7", False)),  # a server that does not say which it is
        ("|1700000000123 7 123 abc 0", Beat("", 1_700_000_000_123, "7", False)),
        (f"|{'9' * 15} 7 123 abc 0", Beat("", 10**15 - 1, "7", False)),
        (f"|{'9' * 16} 7 123 abc 0", None),
        ("|soon 7 123 abc 0", None),
        ("|\u0667 7 123 abc 0", None),
        ("|\u06671 7 123 abc 0", None),
        ("| 7 123 abc 0", None),
        ("1-a 7 123 abc", None),
        ("1-a 7 123 abc 0 0", None),
        ("", None),
    ],
)
def test_a_value_of_the_pulse(text: str, beat: Beat | None) -> None:
    assert beat_of(text) == beat
