"""The keeper's rounds: when there is one, when the thread ends, and who has none."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from django_querybudget.cache.stores import keeper as module
from django_querybudget.cache.stores.keeper import Keeper

pytestmark = pytest.mark.once


class Tended:
    """Asks for a next round in so many seconds each time."""

    alias = "own"

    def __init__(self, *seconds: float | None) -> None:
        self.seconds = list(seconds)
        self.distrusted = False
        self.begun = threading.Event()
        self.also: Callable[[], Any] = lambda: None

    def tend(self) -> float | None:
        self.begun.set()
        self.also()
        return self.seconds.pop(0)


class Waits(threading.Event):
    """Waits for nothing, and notes for how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.noted.append(timeout)
        self.set()
        return True


def run(tended: Tended, keeper: Keeper) -> list[float | None]:
    """Return how long was waited between the rounds until the thread would end."""
    waits = Waits()
    module._run(weakref.ref(tended), weakref.ref(keeper), waits)
    assert not waits.noted or not waits.is_set()
    return waits.noted


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "querybudget-own"]


def test_the_next_round_comes_when_it_is_asked_for() -> None:
    tended = Tended(0.5, 7.0, None)
    assert run(tended, Keeper(tended)) == [0.5, 7.0]
    assert not tended.seconds


def test_it_goes_on_while_something_must_not_be_left() -> None:
    tended = Tended(None, None, 3.0)
    tended.distrusted = True
    tended.also = lambda: setattr(tended, "distrusted", len(tended.seconds) > 2)
    assert run(tended, Keeper(tended)) == [1.0]
    assert tended.seconds == [3.0]
    keeper = Keeper(tended)
    keeper._thread = threading.current_thread()
    tended.distrusted = True
    assert not keeper.may_end()
    assert keeper._thread is not None
    tended.distrusted = False
    assert keeper.may_end()
    assert keeper._thread is None


def test_without_what_it_tends_there_is_no_round() -> None:
    tended = Tended(None)
    keeper = Keeper(tended)
    waits = Waits()
    module._run(lambda: None, weakref.ref(keeper), waits)  # type: ignore[arg-type]
    module._run(weakref.ref(tended), lambda: None, waits)  # type: ignore[arg-type]
    keeper._stopping = True
    module._run(weakref.ref(tended), weakref.ref(keeper), waits)
    assert not tended.begun.is_set()
    assert not waits.noted
    gone = Keeper(Tended(None))
    assert gone.may_end()
    gone.start()
    assert not threads()


def test_one_thread_and_one_again_after_it_was_stopped() -> None:
    tended = Tended(60.0, 60.0)
    keeper = Keeper(tended)
    keeper.stop()  # of nothing
    keeper.start()
    keeper.start()
    [thread] = threads()
    assert thread.daemon
    assert tended.begun.wait(10)
    module._stop_all()
    assert not thread.is_alive()
    tended.begun.clear()
    keeper.start()
    assert tended.begun.wait(10)
    keeper.stop()
    assert not threads()


def test_a_round_may_stop_it() -> None:
    tended = Tended(None)
    keeper = Keeper(tended)
    found: list[str] = []
    started = threading.Event()

    def stop() -> None:
        assert started.wait(10)
        try:
            keeper.stop()
            found.append("stopped")
        except RuntimeError as error:  # it would wait for itself
            found.append(str(error))

    tended.also = stop
    keeper.start()
    started.set()
    for thread in threads():
        thread.join(10)
    assert found == ["stopped"]


def test_one_that_died_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    tended = Tended()  # IndexError
    keeper = Keeper(tended)
    for _ in range(2):
        tended.begun.clear()
        keeper.start()
        assert tended.begun.wait(10)
        assert keeper._thread is not None
        keeper._thread.join(10)


def test_a_forked_process_has_none_and_may_start_one() -> None:
    tended = Tended(60.0)
    keeper = Keeper(tended)
    keeper._thread = threading.main_thread()  # alive, as the parent's looks
    keeper._starting.acquire()  # by a thread of the parent's
    module._forget_all()
    assert keeper._thread is None
    keeper.start()
    assert tended.begun.wait(10)
    keeper.stop()


def test_where_no_thread_can_be_started_requests_do_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    tended = Tended(None)
    keeper = Keeper(tended)
    keeper.start()
    assert keeper._thread is None
