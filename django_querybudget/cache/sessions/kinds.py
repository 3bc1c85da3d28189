"""What a statement does to a session: :class:`Change`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["DEFAULT", "TEMPORARY", "Change", "ChangeKind"]

TEMPORARY = "temporary table "
"""Begins the name of a variable that stands for a temporary table."""

DEFAULT = ""
"""The value of a variable that is as it was when the connection was opened."""


class ChangeKind(Enum):
    """What a statement does to a session."""

    SET = "gives a variable a value"
    RESET_ALL = "gives all variables but the role their default"
    DISCARD_ALL = "makes the session as new"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback to"
    END = "ends the transaction"
    LOSS = "may change anything"
    SCHEMA = "changes tables, views or policies"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a session."""

    kind: ChangeKind
    name: str = ""
    """The variable; for a loss, what caused it."""

    value: str | None = None
    """The value as it is spelled in the statement; None where it is not known."""

    local: bool | None = False
    """Whether it lasts for the transaction alone; None where it is not known."""

    places: tuple[int | None, int | None] = (None, None)
    """The parameters that are the name and whether it is local, where parameters are."""
