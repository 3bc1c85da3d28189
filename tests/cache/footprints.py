"""What a step touches: the ground on which two steps are said to commute.

A *footprint* is the set of things that a step reads and the set of those it may change. Two steps
of two processes depend on one another if one may change what the other touches; otherwise no one
can tell which of them came first. Of two writers' marks and renewals of one tag no one can, either
(``test_tokens`` and ``test_store`` prove it): they *join*. Whatever is not known to be harmless
touches everything, so a mistake here costs time before it costs truth; ``test_reduction`` compares
with all orders.

The things are

- ``redis:<key>`` for each key of a command;
- ``rows``: what another connection can see of the database. A statement inside of a transaction
  changes nothing of it, its COMMIT does. So it is on all databases driven here, because each of
  them reads from a snapshot (SQLite in WAL mode) and never waits for a writer to read;
- ``locks``: what a statement that writes may have to wait for, and what a COMMIT or a ROLLBACK
  gives back. One for the whole database, though most of them lock rows;
- ``returned:<actor>``: whether a program has returned, which a read that begins looks at, since
  it may not be older than a write that has.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERYTHING = "redis:*"


@dataclass(frozen=True)
class Footprint:
    """What a step reads, what it may change, and what it changes together with others."""

    reads: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    joins: frozenset[str] = frozenset()

    def __or__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.reads | other.reads, self.changes | other.changes, self.joins | other.joins
        )

    def depends_on(self, other: Footprint) -> bool:
        """Whether the order of the two can make a difference."""
        return (
            _meet(self.changes, other.reads | other.changes | other.joins)
            or _meet(self.reads, other.changes | other.joins)
            or _meet(self.joins, other.reads | other.changes)
        )


def _meet(some: frozenset[str], others: frozenset[str]) -> bool:
    return any(_is(one, other) or _is(other, one) for one in some for other in others)


def _is(thing: str, wanted: str) -> bool:
    return thing == wanted or (wanted.endswith(":*") and thing.startswith(wanted[:-1]))


NOTHING = Footprint()


def reads(*things: str) -> Footprint:
    return Footprint(reads=frozenset(things))


def changes(*things: str) -> Footprint:
    return Footprint(changes=frozenset(things))


# The database

_LOCAL = {"BEGIN", "START", "SAVEPOINT", "RELEASE", "SET", "PRAGMA"}


def of_statement(word: str, *, in_transaction: bool, has_written: bool) -> Footprint:
    """Return the footprint of the statement that begins with ``word``."""
    if word == "SELECT":
        return reads("rows")
    if word in _LOCAL:
        return NOTHING
    if word == "ROLLBACK":
        return changes("locks")
    if word == "COMMIT":
        return changes("rows", "locks") if has_written else NOTHING
    return reads("rows") | (changes("locks") if in_transaction else changes("rows", "locks"))


# Redis

_READING = {b"GET", b"MGET", b"EXISTS", b"TTL", b"PTTL", b"STRLEN"}
OF_THE_CONNECTION = {b"CLIENT", b"HELLO", b"AUTH", b"PING", b"SELECT", b"SCRIPT"}


def of_commands(commands: list[list[bytes]]) -> Footprint:
    """Return the footprint of the commands that go out together."""
    footprint = NOTHING
    for name, *arguments in commands:
        footprint |= _of_command(name.upper(), arguments)
    return footprint


def _of_command(name: bytes, arguments: list[bytes]) -> Footprint:
    if name in OF_THE_CONNECTION:
        return NOTHING
    if name in _READING:
        return reads(*map(_key, arguments))
    if name == b"SET":
        return changes(_key(arguments[0]))
    if name in {b"EVAL", b"EVALSHA"}:
        last = 2 + int(arguments[1])
        keys = frozenset(map(_key, arguments[2:last]))
        if arguments[last : last + 1] in ([b"mark"], [b"renew"]):
            return Footprint(joins=keys)
        return Footprint(changes=keys)
    return changes(EVERYTHING)


def _key(key: bytes) -> str:
    return f"redis:{key.decode(errors='replace')}"


def commands_in(packed: bytes) -> list[list[bytes]]:
    """Take apart what a client sends: arrays of strings, each with its length before it."""
    commands: list[list[bytes]] = []
    at = 0
    while at < len(packed):
        count, at = _number(packed, at, b"*")
        words = []
        for _ in range(count):
            length, at = _number(packed, at, b"$")
            words.append(packed[at : at + length])
            at += length + 2
        commands.append(words)
    return commands


def _number(packed: bytes, at: int, kind: bytes) -> tuple[int, int]:
    assert packed[at : at + 1] == kind, packed[at : at + 40]
    end = packed.index(b"\r\n", at)
    return int(packed[at + 1 : end]), end + 2
