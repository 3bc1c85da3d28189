"""From a queryset to a :class:`~.through.Question`: its key, its tags, its rows as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from django.db import connections

from django_querybudget.cache import sessions, tags
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled
from django_querybudget.cache.queryset_classes import (
    CannotCache,
    spelled_state,
)

from .codecs import Codec, rows_codec
from .dependencies import Pins, pins_of, tags_read, withheld
from .spelling import check_answer, compiled_for
from .through import Question

__all__ = [
    "CannotCache",
    "Options",
    "question_of",
    "rows_question",
    "site_name",
]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a queryset is cached; ``timeout`` in seconds."""

    timeout: float | None
    key: str | None
    cache: str
    tags: frozenset[str]
    refresh: float | None = None


def question_of(
    queryset: Any, codec: Codec, found: Callable[[Any], bool], *, is_of_rows: bool = False
) -> Question:
    """Return what the queryset asks. ``found`` says whether an answer holds a row.

    ``is_of_rows`` is whether the queryset's own statement is sent. What a count or an aggregate
    asks is another one, which is looked at when it is sent.

    Raises :class:`CannotCache`.
    """
    asked_at = perf_counter()
    options: Options | None = getattr(queryset, "_querybudget_options", None)
    if options is None:
        raise CannotCache(f"class {type(queryset).__qualname__} has no subclass")
    if queryset.query.select_for_update:
        raise CannotCache("select_for_update")
    if queryset._for_write:
        raise CannotCache("for writing")
    alias = queryset.db
    connection = connections[alias]
    sql, params = compiled_for(queryset.query, alias)
    check_answer(queryset, alias, sql, params)
    if is_of_rows and (reason := withheld(sql, connection)):
        raise CannotCache(reason)
    try:
        spelled_params = spelled(params)
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    try:
        session = sessions.text_of(connection)
    except sessions.Unknown as reason:
        raise CannotCache(str(reason)) from None
    pins: Pins | None = pins_of(queryset.query, connection)
    reads = tags_read(sql, connection, pins)
    state = spelled_state(queryset)
    label = queryset.model._meta.label
    shape = f"{codec.kind} {state} {alias} {label} {sql}"
    return Question(
        # With the tags: an entry of who gave others depends on more, or on too little.
        key=entry_key(
            tags.database_name(alias), session, shape, spelled_params, options.key or "",
            *sorted(options.tags),
        ),
        shape=shape,
        expected=reads.all,
        aliases=(alias,),
        sessions={alias: session},
        site=site_name(label, codec.kind),
        is_site_of_shape=True,
        asked_at=asked_at,
        codec=codec,
        found=found,
        timeout=options.timeout,
        refresh=options.refresh,
        cache=options.cache,
        user_tags=frozenset(map(tags.user_tag, options.tags)),
        pins=pins,
    )  # fmt: skip


def site_name(label: str, kind: str = "models") -> str:
    """Return what a shape of query is called, before its SQL: by its model, and what is asked."""
    kind = kind.partition(" ")[0]
    return f"queryset {label}" if kind == "models" else f"queryset {label} {kind}"


def rows_question(queryset: object) -> Question:
    """Return what the queryset asks when it is iterated. Raises :class:`CannotCache`."""
    return question_of(queryset, rows_codec(queryset), bool, is_of_rows=True)
