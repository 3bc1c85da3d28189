"""From a queryset to a :class:`~.through.Question`: its key, its tags, its rows as plain values.

Most reads of a project were asked before: by the same text, mostly with the same values. So what
follows from these is remembered: what was checked of a text and found in it (:class:`_Shape`), and
the key and the tags that it has with certain values (:class:`_Asked`). What may change meanwhile
(settings, models, views, the session) is part of what it is remembered by, and what is not certain
(row-level security) is looked at each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections
from django.db.models.query import ModelIterable

from django_querybudget.cache import sessions, tags
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled
from django_querybudget.cache.queryset_classes import (
    CannotCache,
    spelled_state,
)
from django_querybudget.cache.relations import as_known
from django_querybudget.cache.sql_functions import tell_time
from django_querybudget.cache.tables import tables
from django_querybudget.sql.memory import Memo

from .codecs import Codec, rows_codec
from .dependencies import Pins, pins_of, tags_read, withheld
from .lists import told_list
from .question import Question
from .spelling import check_answer, compiled_for

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = [
    "CannotCache",
    "Options",
    "options_of",
    "question_of",
    "rows_question",
    "site_name",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Options:
    """How a queryset is cached; ``timeout`` in seconds. Made by :func:`options_of`."""

    timeout: float | None
    key: str | None
    cache: str
    tags: frozenset[str]
    refresh: float | None = None

    @cached_property
    def user_tags(self) -> frozenset[str]:
        """The tags as they stand in an entry."""
        return frozenset(map(tags.user_tag, self.tags))


def _options(
    given: tuple[float | None, str | None, str, frozenset[str], float | None],
) -> Options:
    timeout, key, cache, names, refresh = given
    return Options(timeout=timeout, key=key, cache=cache, tags=names, refresh=refresh)


_known_options = Memo(_options)


def options_of(
    timeout: float | None, key: str | None, cache: str, names: frozenset[str],
    refresh: float | None,
) -> Options:  # fmt: skip
    """Return the options: the same object each time, so that it can be a part of memos' keys."""
    return _known_options[timeout, key, cache, names, refresh]


@dataclass(frozen=True, eq=False, slots=True)
class _Shape:
    """A text that may be asked through the cache: what is the same whatever its values are."""

    database: str
    session: str
    sql: str
    text: str
    site: str
    stamp: object
    """What stands for it in a memo's key: it holds no text. None where nothing is remembered."""


@dataclass(frozen=True, eq=False, slots=True)
class _Asked:
    """A shape with its values: where the answer is kept, and what it is known to depend on."""

    key: str
    expected: frozenset[str]
    pins: Pins | None
    is_list: bool


_shapes: Memo[tuple[Any, ...], _Shape] = Memo()
_asked: Memo[tuple[Any, ...], _Asked] = Memo()

_REMEMBERED = frozenset({int, str, bool, type(None), UUID})
"""Types of values that are spelled alike if and only if type and value are equal."""


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
    shape = _shape_of(queryset, codec.kind, options, connection, sql, params, is_of_rows)
    kinds = tuple(map(type, params))
    if shape.stamp is None or not _REMEMBERED.issuperset(kinds):
        asked = _ask(queryset, shape, options, params, connection, is_of_rows)
    else:
        what = (shape.stamp, params, kinds)
        try:
            asked = _asked[what]
        except KeyError:
            asked = _ask(queryset, shape, options, params, connection, is_of_rows)
            _asked.remember(what, asked)
    return Question(
        key=asked.key,
        shape=shape.text,
        expected=asked.expected,
        aliases=(alias,),
        sessions={alias: shape.session},
        site=shape.site,
        is_site_of_shape=True,
        asked_at=asked_at,
        codec=codec,
        found=found,
        timeout=options.timeout,
        refresh=options.refresh,
        cache=options.cache,
        user_tags=options.user_tags,
        pins=asked.pins,
        is_list=asked.is_list,
    )


def _shape_of(
    queryset: Any,
    kind: str,
    options: Options,
    connection: BaseDatabaseWrapper,
    sql: str,
    params: tuple[Any, ...],
    is_of_rows: bool,
) -> _Shape:
    """Return the shape of what the queryset asks. Raises :class:`CannotCache`."""
    alias, model, state = connection.alias, queryset.model, spelled_state(queryset)
    database = tags.database_name(alias)
    relations = as_known(connection, database)
    try:
        session = sessions.text_of(connection)
    except sessions.Unknown as error:
        raise CannotCache(str(error)) from None
    # What a text may read is decided by settings, models and views: all that decides is here.
    what = (
        sql, is_of_rows, kind, state, alias, database, session, model, options, tables(), relations,
    )  # fmt: skip
    if relations is not None:
        try:
            return _shapes[what]
        except KeyError:
            pass
    check_answer(queryset, alias, sql, params)
    if is_of_rows and (reason := withheld(sql, connection)):
        raise CannotCache(reason)
    label = model._meta.label
    text = f"{kind} {state} {alias} {label} {sql}"
    shape = _Shape(database, session, sql, text, site_name(label, kind), object())
    if relations is None or not _shapes.remember(what, shape):
        return replace(shape, stamp=None)  # each value of it would be remembered apart
    return shape


def _ask(
    queryset: Any,
    shape: _Shape,
    options: Options,
    params: tuple[Any, ...],
    connection: BaseDatabaseWrapper,
    is_of_rows: bool,
) -> _Asked:
    """Return the shape's key and tags with these values. Raises :class:`CannotCache`."""
    if tell_time(params):
        raise CannotCache("a parameter that tells the time")
    try:
        spelled_params = spelled(params)
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    pins = pins_of(queryset.query, connection)
    # With the tags: an entry of who gave others depends on more, or on too little.
    key = entry_key(
        shape.database, shape.session, shape.text, spelled_params, options.key or "",
        *sorted(options.tags),
    )  # fmt: skip
    expected = tags_read(shape.sql, connection, pins).all
    found = None
    if is_of_rows and queryset._iterable_class is ModelIterable:
        found = told_list(shape.sql, params, connection)
    if found is not None:
        expected |= found.tags | found.guards
    return _Asked(key, expected, pins, found is not None)


def site_name(label: str, kind: str = "models") -> str:
    """Return what a shape of query is called, before its SQL: by its model, and what is asked."""
    kind = kind.partition(" ")[0]
    return f"queryset {label}" if kind == "models" else f"queryset {label} {kind}"


def rows_question(queryset: object) -> Question:
    """Return what the queryset asks when it is iterated. Raises :class:`CannotCache`."""
    return question_of(queryset, rows_codec(queryset), bool, is_of_rows=True)
