"""What is found: a :class:`Finding` for each loop, a :class:`Fix` for each queryset."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django_querybudget.messages.links import see
from django_querybudget.stacks import Origin

__all__ = ["Cause", "Finding", "Fix"]


class Cause(Enum):
    """Why queries repeat; the value completes "N queries: …"."""

    RELATION = "a relation is loaded row by row"
    DEFERRED = "a deferred field is loaded row by row"
    RELATED_QUERY = "a related queryset is queried row by row"
    BYPASSED_PREFETCH = "a prefetched relation is queried again, row by row"
    PREFETCH = "prefetch_related_objects() runs row by row"
    LOOKUP = "a query runs in a loop"
    WRITE = "rows are written one by one"
    UNUSED_EAGER_LOAD = "a relation is loaded that nobody reads"


@dataclass(frozen=True, kw_only=True)
class Fix:
    """The line to write, for one queryset."""

    code: str
    """The expression: ``Application.objects.select_related("job__client")``."""
    place: Origin | None
    """Where the queryset stands; None if that is not certain."""
    built: bool
    """Whether ``place`` is where it is built; if not, it is where it is evaluated."""
    saves: int
    """How many queries fewer the measured scope would have executed."""
    in_loop: bool = False
    """Whether ``place`` is in the loop that ``code`` is written before, or instead of."""
    alone: bool = False
    """Whether that loop does more than the statement that ``code`` stands for, and must stay."""
    imports: tuple[str, ...] = ()
    """The import statements that the module of ``place`` lacks for it."""
    note: str = ""
    """What else is to be done with what ``code`` returns."""
    where: str = ""
    """How ``code`` stands to ``place``, if it is no line of its own: ``"in the class at"``."""
    replaces: tuple[str, ...] = ()
    """Lookups of the ``prefetch_related()`` that stands there, to be taken out of it: those of
    ``code`` take their place."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One loop of queries, its cause, and what to write instead."""

    cause: Cause
    relation: str
    """``"Application.job"``, ``"Job.status"``; the model alone, or nothing, for other queries."""
    operation: str
    """The queryset's method that ran: ``"get"``, ``"all"``, ``"count"``, ``"save"``, …"""
    origin: Origin | None
    """The line of the project that runs the query."""
    count: int
    """How many queries it ran."""
    saves: int
    """How many of them the fix saves."""
    fix: Fix | None
    """The line to write, shared with other findings of the same queryset."""
    use: str | None
    """What to write at ``origin`` in its stead, where the fix changes that too."""
    replaces: str | None = None
    """The expression at ``origin`` that ``use`` is written for; None where it is no Python."""
    alias: str
    """The database."""
    peers: int | None = None
    """Of how many rows, where the instances know: see :mod:`.fetch_mode`."""
    fingerprint: str
    """The shape of the query."""
    hint: str = ""
    """What can be said where there is neither a ``fix`` nor a ``use``."""
    package: str = ""
    """The installed package whose code runs the loop, where no line of the project does."""
    refused: str = ""
    """Why a ``# querybudget: ignore``, or an entry of the allowlist, that means this line does not
    hold: it has expired, or is not written as it must be."""

    def __str__(self) -> str:
        from .rendering import link_of, render_findings  # which read what is declared here

        return "\n".join([*render_findings([self]), see(link_of([self]))])
