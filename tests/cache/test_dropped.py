"""The callback of a commit, and what is done where it vanished: each rule by itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import caches

from django_querybudget.cache import cache_stats
from django_querybudget.cache.transactions import on_commit
from django_querybudget.cache.transactions.on_commit import Dropped, OnCommit, settle_dropped
from django_querybudget.cache.transactions.pending import Pending

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def nothing_dropped() -> Iterator[None]:
    caches["default"].clear()
    cache_stats(reset=True)
    on_commit.dropped.clear()
    yield
    on_commit.dropped.clear()


class Standing(SimpleNamespace):
    """What is asked of a connection: where it stands."""

    __slots__ = ("__weakref__",)


def at(*, in_atomic_block: bool = False, autocommit: bool = True, is_open: bool = True) -> Any:
    return Standing(
        in_atomic_block=in_atomic_block,
        autocommit=autocommit,
        connection=object() if is_open else None,
    )


def written() -> Pending:
    pending = Pending("default")
    pending.add({"d:t:dropped"})
    return pending


@pytest.mark.parametrize(
    ("in_atomic_block", "autocommit", "is_open", "is_over"),
    [
        (False, True, True, True),
        (False, True, False, True),
        (False, False, False, True),  # closed, whatever it will be
        (False, False, True, False),  # between the block and the COMMIT
        (True, True, True, False),
        (True, False, True, False),
        (True, False, False, False),
    ],
)
def test_when_a_transaction_is_over(
    in_atomic_block: bool, autocommit: bool, is_open: bool, is_over: bool
) -> None:
    connection = at(in_atomic_block=in_atomic_block, autocommit=autocommit, is_open=is_open)
    assert Dropped(written(), weakref.ref(connection)).is_over is is_over


def test_that_of_a_connection_that_is_gone_is_over() -> None:
    connection = at(in_atomic_block=True)
    note = Dropped(written(), weakref.ref(connection))
    assert not note.is_over
    del connection
    gc.collect()
    assert note.is_over


@pytest.mark.parametrize("in_atomic_block", [True, False])
def test_the_callback_renews_what_is_committed(in_atomic_block: bool) -> None:
    """captureOnCommitCallbacks() runs it in a test's transaction, too: that is no commit."""
    pending = written()
    callback = OnCommit(at(in_atomic_block=in_atomic_block), pending)
    callback()
    assert pending.done is not in_atomic_block
    assert cache_stats().invalidations == (not in_atomic_block)


@pytest.mark.parametrize("is_done", [True, False])
def test_a_callback_that_goes_is_noted_unless_all_is_done(is_done: bool) -> None:
    pending, connection = written(), at(in_atomic_block=True)
    callback = OnCommit(connection, pending)
    if is_done:
        pending.renew()
    del callback
    gc.collect()
    assert [note.pending for note in on_commit.dropped] == ([] if is_done else [pending])
    assert all(note.connection() is connection for note in on_commit.dropped)


def test_what_is_over_is_renewed_and_forgotten_and_what_is_open_is_kept() -> None:
    over, still_open, done, waited_for = written(), written(), written(), written()
    ended, begun = at(), at(in_atomic_block=True)
    callback = OnCommit(begun, waited_for)
    waited_for.callback = weakref.ref(callback)
    done.renew()
    for pending, connection in [
        (still_open, begun),
        (over, ended),
        (done, begun),
        (waited_for, begun),
        (done, ended),
    ]:
        on_commit.dropped.append(Dropped(pending, weakref.ref(connection)))
    assert cache_stats().invalidations == 1
    settle_dropped()
    assert cache_stats().invalidations == 2
    assert over.done
    assert not still_open.done
    assert not waited_for.done  # its own callback will
    assert [note.pending for note in on_commit.dropped] == [still_open]
    settle_dropped()
    assert [note.pending for note in on_commit.dropped] == [still_open]
    begun.in_atomic_block = False
    settle_dropped()
    assert still_open.done
    assert not on_commit.dropped
    settle_dropped()  # nothing
