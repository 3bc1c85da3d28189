"""Which statements change what a session sees: read from their text, and from parameters.

A statement that is not understood for certain is a :data:`LOSS`: from then on nothing is known of
the session. Only statements that may change a session are looked at closely, so that an ORM's
ordinary statement costs a few searches in its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django_querybudget.cache.keys import Unkeyable, spelled
from django_querybudget.sql.memory import Memo

from .assignments import (
    HARMLESS,
    discard,
    of_sqlite,
    reset,
    set_config,
    set_of_mysql,
    set_of_standard,
    temporary,
)
from .kinds import Change, ChangeKind
from .tokens import SessionToken, statements_of

__all__ = ["changes_of"]

LONGEST = 20_000
"""A longer statement is not taken apart, in characters: it is a loss where it may be a change."""


_ORDINARY = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "(SELECT"})
_SCHEMA = frozenset({"CREATE", "ALTER", "DROP", "RENAME", "IMPORT"})
_PLAIN_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})
_MAY_CHANGE = re.compile(
    r"\b(?:SET|RESET|DISCARD|USE|PRAGMA|ATTACH|DETACH|DO|CALL|EXECUTE|TEMP|TEMPORARY|set_config)\b",
    re.IGNORECASE,
)


def changes_of(sql: str, params: object, vendor: str) -> tuple[Change, ...]:
    """Return what the statement changes of the session it runs in."""
    first = sql[:16].lstrip().partition(" ")[0].upper()
    if first in _ORDINARY and ";" not in sql:
        lowered = sql.lower()
        if "set_config" not in lowered and (first in _PLAIN_WRITES or "temp" not in lowered):
            return ()
    if len(sql) > LONGEST:
        return (Change(ChangeKind.LOSS, "a long statement"),) if _MAY_CHANGE.search(sql) else ()
    found = _all_changes[sql, vendor]
    if not found:
        return found
    return tuple(known for change in found for known in _with_params(change, params))


def _with_params(change: Change, params: Any) -> Iterator[Change]:
    """Put in what the parameters say; nothing for a variable that changes no answer."""
    name, value, local = change.name, change.value, change.local
    named, lasting = change.places
    try:
        if named is not None:
            name = params[named].lower()
            if HARMLESS.fullmatch(name):
                return
        if lasting is not None:
            local = params[lasting] if isinstance(params[lasting], bool) else None
    except (TypeError, LookupError, AttributeError):
        yield Change(ChangeKind.LOSS, "set_config")
        return
    if value is not None and "\0" in value:
        try:
            value = "".join(
                spelled(params[int(part[1:])]) if part.startswith("\0") else part
                for part in re.split(r"(\0\d+)", value)
            )
        except (Unkeyable, TypeError, LookupError, RecursionError):
            value = None
    yield Change(change.kind, name, value, local)


def _changes(key: tuple[str, str]) -> tuple[Change, ...]:
    sql, vendor = key
    found: list[Change] = []
    for piece in statements_of(sql):
        if piece:
            found += _changes_in(piece, vendor)
    if len(found) > 1 and any(change.kind is ChangeKind.END for change in found):
        # A transaction of its own in one text: whether it was committed is not told.
        found = [
            replace(change, value=None) if change.kind is ChangeKind.SET else change
            for change in found
        ]
    return tuple(found)


_all_changes = Memo(_changes)


def _changes_in(piece: list[SessionToken], vendor: str) -> list[Change]:  # noqa: PLR0911  # by first word
    first = piece[0].word
    second = piece[1].word if len(piece) > 1 else ""
    if piece[0].text == "!":
        return [Change(ChangeKind.LOSS, "a comment that runs")]
    if first == "SET":
        if vendor == "mysql":
            return set_of_mysql(piece[1:])
        return set_of_standard(piece[1:])
    if first == "RESET" and vendor != "mysql":
        return reset(piece[1:])
    if first == "DISCARD":
        return [Change(ChangeKind.DISCARD_ALL)] if second == "ALL" else discard(second)
    if first == "SAVEPOINT":
        return [Change(ChangeKind.SAVEPOINT, piece[-1].name)]
    if first == "RELEASE":
        return [Change(ChangeKind.RELEASE, piece[-1].name)]
    if first in ("ROLLBACK", "ABORT", "COMMIT", "END"):
        if any(token.word == "TO" for token in piece):
            return [Change(ChangeKind.ROLLBACK_TO, piece[-1].name)]
        return [Change(ChangeKind.END)]
    if first == "USE" and vendor == "mysql" and len(piece) == 2:
        return [Change(ChangeKind.SET, "database", piece[1].name)]
    if first in ("PRAGMA", "ATTACH", "DETACH") and vendor == "sqlite":
        return of_sqlite(piece)
    if first in ("CALL", "DO", "EXECUTE", "USE") or (first, second) == ("ALTER", "SESSION"):
        return [Change(ChangeKind.LOSS, first)]
    schema = [Change(ChangeKind.SCHEMA)] if first in _SCHEMA else []
    return [*schema, *temporary(piece), *set_config(piece)]
