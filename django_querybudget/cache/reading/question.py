"""One cached read, as everything that reads sees it: :class:`Question`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from django.db import connections

from django_querybudget.cache.sites import Site, known_site, site_of
from django_querybudget.sql.shortening import shortened

from .codecs import Codec
from .dependencies import Pins
from .fills import refusal
from .remembered import short

__all__ = ["Question", "refusal_of", "site_of_question"]

_LONGEST_SQL = 10_000  # of SQL that is made short, in characters


@dataclass(kw_only=True, slots=True)  # not frozen: that doubles the time to make one
class Question:
    """One read: where its answer is kept, and in what form. It does not change."""

    key: str
    """The entry's key."""

    shape: str
    """What questions with the same tables have in common: the SQL without its parameters."""

    expected: Collection[str]
    """The tags that it is known to depend on, besides those remembered for its shape."""

    kind: str = ""
    """What questions have in common that read mostly the same tables, if there is anything."""

    aliases: Collection[str]
    """The aliases it is known to read from."""

    sessions: Mapping[str, str]
    """The sessions that its key holds, by alias; of any other it must be the default one."""

    site: str
    """The call site that it is counted for."""

    is_site_of_shape: bool = False
    """Whether the shape is what the site is known by, and its name is for reading."""

    asked_at: float = field(default_factory=perf_counter)
    """When it was asked, on the process' own clock, in seconds."""

    codec: Codec
    found: Callable[[Any], bool]
    """Whether an answer holds a row."""

    timeout: float | None
    refresh: float | None = None
    """For how long at most an answer that was true is given while it is made anew, in seconds."""
    cache: str
    user_tags: frozenset[str]
    pins: Pins | None = None
    is_list: bool = False
    """Whether it is of a list that a foreign key pins: its rows' tags are remembered by its key."""
    required: frozenset[str] = frozenset()
    """Tags that the entry depends on besides those of its queries."""


def site_of_question(question: Question) -> Site:
    """Return the call site that a question is counted for."""
    if not question.is_site_of_shape:
        return site_of(question.site)
    shape = short(question.shape)
    return known_site(shape) or site_of(_named(question), shape)


def _named(question: Question) -> str:
    """Return what a shape is called: by whom it is asked, and its SQL made short."""
    start = question.shape.find("SELECT ")
    sql = shortened(question.shape[start : start + _LONGEST_SQL]) if start >= 0 else ""
    return f"{question.site} {sql}".rstrip()


def refusal_of(question: Question) -> str | None:
    """Return why the cache must not be asked, None if it may."""
    for alias in question.aliases:
        if reason := refusal(connections[alias]):
            return reason
    return None
