"""The pulse: one more token that every entry depends on, alive while the server takes writes.

It is one key with a life of :data:`LIFE` seconds, refreshed by a command that is refused whenever
marks are refused. It is read with the tags of every hit, in the same trip. So a server that answers
reads and takes no writes is trusted for :data:`LIFE` seconds at most, and a writer whose mark was
refused waits that long, and then knows that nobody reads anything old.

A pulse that was missing comes back as another one: entries from before the gap are dead. It *rests*
for ``RECOVERY_TIME`` first. While it rests nobody trusts and nobody stores, so that each process
with a write in flight whose mark was refused can put its mark before anyone trusts again.

Its value is ``token evicted since identity evicting``, separated by spaces: the token, or
``|deadline`` while it rests (milliseconds, the server's clock); how many keys the server has
evicted; when it last did; which server this is, and since which restart; whether it evicts (``1``).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALWAYS", "EVERY", "LIFE", "MARGIN", "PULSE", "Beat", "beat_of"]

LIFE = 2.0
"""How long the pulse outlives its last refresh, in seconds."""

EVERY = LIFE / 4
"""How often each process refreshes it, in seconds."""

MARGIN = 0.25
"""How much longer than ``LIFE`` a writer waits that can ask nobody, in seconds."""

PULSE = "q:pulse"
"""The pulse's name among the tags of an entry."""

ALWAYS = "0-0"
"""The pulse of a cache that needs none: it fails with the process, or with the database."""

EVICTING = 60_000
"""For how long after an eviction the server is said to evict, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A value of the pulse."""

    token: str
    """The token; empty while the pulse rests."""

    deadline: int
    """Until when it rests, milliseconds since the epoch by the server's clock; 0: it does not."""

    evicted: str
    """How many keys the server had evicted; ``?`` where it does not say."""

    is_evicting: bool
    """Whether it evicted keys in the last minute, or does not say."""


def beat_of(text: str) -> Beat | None:
    """Read a value of the pulse; None for what is none."""
    token, *rest = text.split(" ")
    if len(rest) != 4:
        return None
    deadline = 0
    if token.startswith("|"):
        if not (token[1:].isascii() and token[1:].isdecimal() and len(token) < 17):
            return None
        token, deadline = "", int(token[1:])
    return Beat(token, deadline, rest[0], rest[3] == "1")
