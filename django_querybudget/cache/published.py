"""The counts of all processes: each tells its own to the cache now and then, and they are added up.

There are :data:`SLOTS` places in the cache. A process takes one that nobody has, and adds there
what it has counted since it did so last. When it ends its place is free after a minute, and the
next process goes on adding there: so the sum survives the processes. That is done by the keeper's
thread; where there is none, after a request.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from django.core.signals import request_finished

from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.keeper import chores
from django_querybudget.conf import conf

from .stats import CacheStats, Totals, forget, own_totals
from .tokens import new_writer

__all__ = ["cache_stats", "forget_all", "publish"]

logger = logging.getLogger("django_querybudget")

SLOTS = 64
"""How many processes can tell what they count at the same time."""

EVERY = 10.0
"""How often a process tells what it has counted, in seconds."""

HELD = 60.0
"""For how long a process that tells nothing more keeps its slot, in seconds."""

KEPT = 24 * 3600.0
"""How long counts are kept after the last were added, in seconds."""


class Publisher:
    """This process' side: its slot, and what it has told already."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._who = new_writer()
        self._slot: int | None = None
        self._told: dict[str, Any] = {}
        self.due = time.monotonic() + EVERY

    def publish(self, alias: str) -> bool:
        """Add what was counted since to the slot in the cache ``alias``. Returns whether it is."""
        with self._lock:
            self.due = time.monotonic() + EVERY
            now = own_totals().frozen()
            added = _less(now, self._told)
            if not any(added[name] for name in ("counts", "sites")) and not any(
                added["named"].values()
            ):
                return True
            store = store_for(alias)
            slot = self._slot = self._own_slot(store)
            if slot is None:
                return False
            before = _totals(store, slot)
            before.add(added)
            packed = json.dumps(before.frozen(), separators=(",", ":")).encode()
            if 0 < conf.CACHE.MAX_BYTES < len(packed) or not store.write(_key(slot), packed, KEPT):
                return False
            self._told = now
            return True

    def publish_if_due(self, alias: str) -> None:
        """Do so once in a while. Raises nothing."""
        if time.monotonic() < self.due or alias != conf.CACHE.ALIAS:
            return
        try:
            self.publish(alias)
        except Exception:  # counts must not be the host's trouble
            logger.debug("What the cache counted was not told.", exc_info=True)

    def untold(self) -> Mapping[str, Any]:
        """Return what is counted here and not told yet."""
        return _less(own_totals().frozen(), self._told)

    def begin_again(self) -> None:
        """Forget what was told: the counts begin at 0."""
        self._told = {}

    def _own_slot(self, store: Any) -> int | None:
        if self._slot is not None:
            held = store.read(f"{_key(self._slot)}:held", ())
            if held is not None and _text(held.entry) == self._who:
                store.write(f"{_key(self._slot)}:held", self._who.encode(), HELD)
                return self._slot
        for slot in range(SLOTS):
            held = store.read(f"{_key(slot)}:held", ())
            if held is None:
                return None  # the cache cannot be asked, in a transaction perhaps
            if held.entry is None and store.take(f"{_key(slot)}:held", self._who, HELD):
                return slot
        return None


def _key(slot: int) -> str:
    return f"qb:counts:{slot}"


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _totals(store: Any, slot: int) -> Totals:
    """Return what stands in a slot; nothing, where that cannot be read."""
    found = Totals()
    read = store.read(_key(slot), ())
    if read is not None and isinstance(read.entry, bytes):
        try:
            found.add(json.loads(read.entry))
        except (ValueError, TypeError, KeyError, AttributeError):
            return Totals()  # somebody else's, or of another version
    return found


def _less(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``now`` less ``before``: dicts of numbers, at any depth. A time stays as it is."""
    found: dict[str, Any] = {}
    for name, value in now.items():
        if isinstance(value, dict):
            found[name] = _less(value, before.get(name, {}))
        elif name == "since":
            found[name] = value
        elif left := value - before.get(name, 0):
            found[name] = left
    return {
        name: value
        for name, value in found.items()
        if value or name in ("counts", "named", "sites")
    }


_publisher = Publisher()


def publish() -> bool:
    """Tell now what this process has counted. Returns whether the cache has taken it."""
    return _publisher.publish(conf.CACHE.ALIAS)


def cache_stats(*, reset: bool = False, all_processes: bool = False) -> CacheStats:
    """Return what the cache did in this process; ``reset`` sets the counts to 0 afterwards.

    ``all_processes``: what it did in all processes that share the cache in ``ALIAS``. Each tells
    its counts there every ten seconds, so that those of the last seconds are missing. They are
    kept for a day after the last were told.

    Raises :class:`ValueError` for both: ``manage.py querybudget cache stats --reset`` does that.
    """
    if not all_processes:
        found = own_totals().stats()
        if reset:
            forget()
            _publisher.begin_again()
        return found
    if reset:
        raise ValueError(
            "cache_stats(reset=True) is for this process' counts only; "
            "manage.py querybudget cache stats --reset resets those of all processes."
        )
    store, found_all = store_for(conf.CACHE.ALIAS), Totals()
    for slot in range(SLOTS):
        found_all.add(_totals(store, slot).frozen())
    found_all.add(_publisher.untold())
    return found_all.stats()


def forget_all() -> None:
    """Set the counts of all processes to 0; what they have not told yet they tell later."""
    store = store_for(conf.CACHE.ALIAS)
    for slot in range(SLOTS):
        store.write(_key(slot), b"{}", 1)
    cache_stats(reset=True)


def _after_request(**_: object) -> None:
    if time.monotonic() < _publisher.due:
        return
    store = store_for(conf.CACHE.ALIAS)
    if store.is_shared and not (store.has_pulse and store.keeps_beating):  # or the keeper does
        _publisher.publish_if_due(store.alias)


def _begin_in_child() -> None:
    global _publisher
    _publisher = Publisher()


def _tend(alias: str) -> None:
    _publisher.publish_if_due(alias)


chores.append(_tend)
request_finished.connect(_after_request, dispatch_uid="querybudget-counts")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
