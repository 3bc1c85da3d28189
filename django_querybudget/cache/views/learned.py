"""What each view was found to depend on, in this process: it is part of its keys from then on.

Headers, named by its responses' ``Vary``; and the database connections it reads from, since what
their sessions decide (search path, role, variables) is in no SQL. The connections that a thread
happens to have opened besides do not matter. Where routers say which one it is, the models that
they say it for are remembered: they may say another one to the next request.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["MOST_VIEWS", "learn", "reads_from", "routed_of", "varied_by"]

MOST_VIEWS = 4096
"""How many views are remembered."""

_NONE: frozenset[str] = frozenset()
_varies: dict[str, frozenset[str]] = {}
_reads: dict[str, frozenset[str]] = {}
_routed: dict[str, frozenset[str]] = {}


def varied_by(name: str) -> frozenset[str]:
    """Return the headers that the view is known to vary on, in small letters."""
    return _varies.get(name, _NONE)


def reads_from(name: str, first: str) -> Collection[str]:
    """Return the aliases that the view is known to read from, and ``first``, which most do."""
    return _reads.get(name, _NONE) | {first}


def routed_of(name: str) -> frozenset[str]:
    """Return the labels of the models that the view reads where the routers say."""
    return _routed.get(name, _NONE)


def learn(
    name: str, *, varied: Collection[str], aliases: Collection[str], routed: Collection[str]
) -> None:
    """Note headers of a response's ``Vary``, and aliases and routed models that it has read."""
    for known, found in ((_varies, varied), (_reads, aliases), (_routed, routed)):
        before = known.get(name, _NONE)
        if not before.issuperset(found):
            if len(known) >= MOST_VIEWS:
                known.clear()
            known[name] = before.union(found)
