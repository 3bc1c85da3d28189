"""What one writer marks and renews, when, and in which cache."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Collection
from typing import Any

import pytest
from django.core.cache import caches

from django_querybudget.cache import cache_stats, tags
from django_querybudget.cache.stores.store import Store
from django_querybudget.cache.transactions.pending import MANY_TAGS, Pending
from django_querybudget.signals import cache_renewed

pytestmark = pytest.mark.once

A, B, C = "d:t:a", "d:t:b", "d:t:c"


class Seen:
    """What the stores were told to do; they do it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.marks: list[tuple[str, set[str], float]] = []
        self.renewals: list[tuple[str, set[str], str, bool]] = []
        self.refuses = False
        mark, renew = Store.mark, Store.renew

        def seen_mark(store: Store, wanted: Collection[str], writer: str, timeout: float) -> bool:
            self.marks.append((store.alias, set(wanted), timeout))
            return mark(store, wanted, writer, timeout) and not self.refuses

        def seen_renew(
            store: Store, wanted: Collection[str], writer: str = "", *, marked: bool = False
        ) -> bool:
            self.renewals.append((store.alias, set(wanted), writer, marked))
            return renew(store, wanted, writer, marked=marked)

        monkeypatch.setattr(Store, "mark", seen_mark)
        monkeypatch.setattr(Store, "renew", seen_renew)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Seen:
    folder = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {
        **settings.CACHES,
        **{name: {"BACKEND": folder, "LOCATION": name} for name in ("one", "two")},
    }
    configure(settings)
    for alias in ("one", "two"):
        caches[alias].clear()
    cache_stats(reset=True)
    return Seen(monkeypatch)


def configure(settings: Any, **cache: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "one", "MARK_TIMEOUT": 60, **cache}}


def test_tags_are_marked_once_and_all_of_them_again_after_a_third_of_the_timeout(
    seen: Seen,
) -> None:
    pending = Pending("default")
    before = time.monotonic()
    pending.add({A})
    pending.add({A})
    assert seen.marks == [("one", {A}, 60)]
    assert before <= pending.marked_at <= time.monotonic()
    pending.marked_at -= 19
    marked_at = pending.marked_at
    pending.add({A, B})
    assert seen.marks[1:] == [("one", {B}, 60)]
    assert pending.marked_at == marked_at  # that of the oldest mark
    pending.marked_at -= 2
    pending.add({A})
    assert seen.marks[2:] == [("one", {A, B}, 60)]
    assert pending.marked_at > marked_at + 18
    pending.add({C})
    assert seen.marks[3:] == [("one", {C}, 60)]


def test_after_a_mark_that_was_refused_all_are_marked_again(seen: Seen) -> None:
    pending = Pending("default")
    pending.add({A})
    seen.refuses = True
    pending.add({B})
    pending.add({B})
    pending.renew()
    assert seen.marks == [("one", {A}, 60), ("one", {B}, 60), ("one", {A, B}, 60)]
    assert seen.renewals == [("one", {A, B}, pending.writer, False)]  # it has to be heard


@pytest.mark.parametrize("always", [True, False])
def test_marks_may_be_turned_off_but_not_where_nothing_else_tells(
    seen: Seen, settings: Any, always: bool
) -> None:
    configure(settings, IN_FLIGHT_MARKS=False)
    pending = Pending("default")
    pending.add({A}, always_mark=always)
    assert len(seen.marks) == always
    pending.renew_so_far()
    pending.renew()
    assert seen.renewals == [
        ("one", {A}, "", False),  # which leaves the marks
        ("one", {A}, pending.writer, always),
    ]


@pytest.mark.parametrize(
    ("share", "marked"), [(0.0, True), (0.45, True), (0.55, False), (1.1, False), (1.9, False)]
)
def test_a_mark_that_may_be_over_soon_covers_no_renewal(
    seen: Seen, share: float, marked: bool
) -> None:
    pending = Pending("default")
    pending.add({A})
    pending.marked_at -= share * 60
    pending.renew()
    assert seen.renewals == [("one", {A}, pending.writer, marked)]


def test_what_was_marked_in_one_cache_is_renewed_there(seen: Seen, settings: Any) -> None:
    pending, other = Pending("default"), Pending("default")
    pending.add({A})
    other.add({A})
    configure(settings, ALIAS="two")
    pending.renew_so_far()
    pending.renew()
    other.renew()
    assert [alias for alias, *_ in seen.renewals] == ["one", "one", "one"]


def test_the_project_is_told_of_what_was_renewed(seen: Seen) -> None:
    told: list[Any] = []

    def receiver(**sent: Any) -> None:
        told.append((sent["alias"], sent["tables"]))

    cache_renewed.connect(receiver)
    try:
        pending = Pending("other")
        pending.add({A, B})
        pending.renew_so_far()
        assert told == []  # it may not be committed
        pending.renew()
        pending.renew()
    finally:
        cache_renewed.disconnect(receiver)
    assert told == [("other", {"a", "b"})]


def test_it_is_renewed_once_and_only_if_there_is_something(seen: Seen) -> None:
    empty = Pending("default")
    empty.add(())
    empty.renew_so_far()
    empty.renew()
    assert empty.done
    assert (seen.marks, seen.renewals) == ([], [])
    pending = Pending("default")
    pending.add({A})
    pending.renew()
    pending.renew()
    pending.renew_so_far()
    assert len(seen.renewals) == 1


@pytest.mark.parametrize(
    ("callback", "expected"),
    [(lambda _: None, False), (lambda _: lambda: None, False), (weakref.ref, True)],
    ids=["none", "gone", "there"],
)
def test_whether_a_callback_waits(
    seen: Seen, callback: Callable[[Any], Any], expected: bool
) -> None:
    pending = Pending("default")
    pending.callback = callback(seen)
    assert pending.is_waited_for is expected


def test_the_last_row_that_is_told_apart(seen: Seen) -> None:
    database = "default.12345678"
    pending = Pending("default")
    pending.add({tags.table_tag(database, f"t{number}") for number in range(MANY_TAGS - 1)})
    last, next_one = (tags.row_tag(database, "t1", str(key)) for key in (1, 2))
    pending.add({last})
    assert last in pending.tags
    pending.add({next_one})
    assert next_one not in pending.tags
    assert tags.bulk_tag(database, "t1") in pending.tags
    assert pending._taken({next_one}) == frozenset()
