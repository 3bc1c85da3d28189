"""The tables of the known models, and what the database changes by itself in them.

Built once from the app registry, and again when a model is added or a setting changes to what it
was not of late. Nothing here asks a database.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import deletion
from django.db.models.expressions import RawSQL
from django.db.models.signals import class_prepared

from django_querybudget.conf import conf
from django_querybudget.sql.fingerprints import identifiers
from django_querybudget.sql.statements import read

from . import tags
from .columns import Column, Columns, scope_column
from .withheld import Withheld

__all__ = ["Table", "Tables", "forget", "table_tags", "tables", "whole_table"]

logger = logging.getLogger("django_querybudget")

# Django 6.1's on_delete options that the database carries out.
_DatabaseOnDelete: type | tuple[()] = getattr(deletion, "DatabaseOnDelete", ())


_NO_COLUMNS = Columns({}, frozenset(), frozenset(), frozenset(), {})


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a model: its key where rows can be told apart by it, its declared scopes."""

    is_kept_elsewhere: ClassVar[bool] = True
    """By :class:`Tables`: a memo of statements does not weigh it with each of them."""

    name: str
    key: Column | None
    scopes: Mapping[str, Column]
    defaults: frozenset[str] = frozenset()
    """The functions that the database calls for what an INSERT leaves out, in small letters."""

    columns: Columns = _NO_COLUMNS

    known: str = ""
    """What stands for all by which writes tell lists of it apart, the same in every process that
    has the same models and the same of this library; empty where they tell none apart."""

    @property
    def pins(self) -> Mapping[str, Column]:
        """The columns by which lists of it are pinned, where its rows can be told apart."""
        return {} if self.key is None else self.columns.pins


def table_tags(database: str, table: Table) -> frozenset[str]:
    """Return the tags of any write to ``table``: its own, and its twin where there is one."""
    return _table_tags(database, table.name, table.known)


@lru_cache(maxsize=1024)
def _table_tags(database: str, name: str, known: str) -> frozenset[str]:
    own = tags.table_tag(database, name)
    return frozenset((own, tags.twin_tag(database, name, known)) if known else (own,))


def whole_table(database: str, table: Table | None) -> set[str]:
    """Return the tags of a write of unknown extent to ``table``; None is one that no model has."""
    if table is None:
        return {tags.unmodelled(database)}
    found = {*table_tags(database, table), tags.bulk_tag(database, table.name)}
    if table.scopes:
        found.add(tags.any_scope_tag(database, table.name))
    if table.pins:
        found.add(tags.any_value_tag(database, table.name))
    return found


def _default_functions(model: type[models.Model]) -> Iterator[str]:
    for field in model._meta.local_fields:
        default = getattr(field, "db_default", None)
        if not hasattr(default, "resolve_expression"):
            continue
        expression: Any = default
        for part in expression.flatten():
            if isinstance(part, RawSQL):
                yield from read(part.sql, "").calls
            elif isinstance(part, models.Func):
                yield (part.extra.get("function") or part.function or type(part).__name__).lower()


class Tables:
    """Every table that a model has, by the words that name it in SQL."""

    def __init__(self) -> None:
        self.written = _written()
        self.made_by = _deciding()
        self.forms: dict[str, Any] = {}  # by vendor, the memo of :mod:`.writing.forms`
        self._ignored = conf.CACHE.IGNORED_TABLES
        self.withheld = Withheld(conf.CACHE.values().get("NEVER_STORE"))
        declared = {label.lower(): fields for label, fields in conf.CACHE.SCOPES.items()}
        self.tables: dict[str, Table] = {}
        self._words: dict[str, set[str]] = defaultdict(set)
        referring: dict[str, set[str]] = defaultdict(set)
        changed_by_database: dict[str, set[str]] = defaultdict(set)
        for model in apps.get_models(include_auto_created=True, include_swapped=True):
            name = model._meta.db_table
            self._add(model, declared.get(model._meta.label_lower, ()))
            for word in identifiers(name):
                self._words[word.lower()].add(name)
            for field in model._meta.local_fields:
                if field.remote_field is None or not isinstance(field.related_model, type):
                    continue
                parent = field.related_model._meta.db_table
                referring[parent].add(name)
                on_delete = getattr(field.remote_field, "on_delete", None)
                if (_DatabaseOnDelete and isinstance(on_delete, _DatabaseOnDelete)) or (
                    # Perhaps since a migration of the host's has written ON DELETE CASCADE.
                    on_delete is models.DO_NOTHING and getattr(field, "db_constraint", False)
                ):
                    changed_by_database[parent].add(name)
        self.by_lower_name = {name.lower(): name for name in self.tables}
        self._cache_tables = _cache_tables()
        self._referring = _closure(referring)
        self._changed_by_database = _closure(changed_by_database)

    def _add(self, model: type[models.Model], scopes: Iterable[str]) -> None:
        name = model._meta.db_table
        columns = dict(self.tables[name].scopes) if name in self.tables else {}
        for scope in scopes:
            column, problem = scope_column(model, scope)
            if column is not None:
                columns[column.name] = column
            elif (model._meta.label, scope) not in _told:
                # The check says so too, but a server that serves requests runs no checks.
                _told.add((model._meta.label, scope))
                logger.error(
                    "%s names %r of %s, %s. Going on without it.",
                    conf.CACHE.path("SCOPES"), scope, model._meta.label, problem,
                )  # fmt: skip
        key = Column.of(model._meta.pk) if model._meta.pk is not None else None
        defaults = frozenset(_default_functions(model))
        if name in self.tables:
            defaults |= self.tables[name].defaults
        known = Columns.of(model)
        if name in self.tables:
            known |= self.tables[name].columns
        self.tables[name] = Table(name, key, columns, defaults, known, _spelled(key, known))

    def of(self, names: Iterable[str]) -> tuple[Table, ...]:
        """Return the tables with these names."""
        return tuple(self.tables[name] for name in names)

    def named_in(self, sql: str) -> frozenset[str]:
        """Return the tables that ``sql`` may name, whatever its grammar: too many, not too few."""
        return self.named_among(name.lower() for name in identifiers(sql))

    def named_among(self, names: Iterable[str]) -> frozenset[str]:
        """Return the tables that some of the names, in small letters, may be."""
        words = self._words
        found: set[str] = set()
        for name in names:
            if named := words.get(name):
                found |= named
            elif not name.isidentifier():
                # A quoted text of more than a name: in MySQL it may be a literal, in a schema
                # trick ('schema"."table') it may hold several names.
                for word in identifiers(name.replace('"', " ").replace("`", " ")):
                    found |= words.get(word.lower(), set())
        return frozenset(found)

    def labels(self, table: str) -> list[str]:
        """Return the labels of the models of a table, all in small letters."""
        return [
            model._meta.label_lower
            for model in apps.get_models(include_auto_created=True)
            if model._meta.db_table.lower() == table.lower()
        ]

    def deleted_with(self, table: str, *, truncated: bool = False) -> frozenset[str]:
        """Return the tables in which the database itself changes rows when ``table`` loses some."""
        return (self._referring if truncated else self._changed_by_database).get(table, frozenset())

    def names_cache_table(self, names: Iterable[str]) -> bool:
        """Whether a table of Django's database cache is among the names: no data of the host's."""
        return bool(self._cache_tables) and any(name in self._cache_tables for name in names)

    def ignored(self, table: str) -> bool:
        """Whether the settings take the table out of caching."""
        return table in self._ignored


_FORM = "2"
"""Of what writes say of lists. Another one for each change in that."""


def _spelled(key: Column | None, columns: Columns) -> str:
    if key is None or not columns.pins:
        return ""
    pins = [each.spelled() for _, each in sorted(columns.pins.items())]
    return tags.digest(repr((_FORM, key.spelled(), pins, sorted(columns.plain))))[:12]


_told: set[tuple[str, str]] = set()


def _closure(edges: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    reached: dict[str, frozenset[str]] = {}
    for start in edges:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for child in edges.get(waiting.pop(), ()):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
        reached[start] = frozenset(seen)
    return reached


DECIDING = ("SCOPES", "IGNORED_TABLES", "FUNCTIONS", "NEVER_STORE")
"""The settings that the tables, and what is remembered by them, depend on; :func:`tables` asks for
each by itself, since a loop over them would cost a statement three times as much."""


def _written() -> tuple[object, ...]:
    """Return what the settings hold of these."""
    return tuple(map(conf.CACHE.values().get, DECIDING))


def _cache_tables() -> set[str]:
    return {
        str(options.get("LOCATION", "")).lower()
        for options in settings.CACHES.values()
        if options.get("BACKEND") == "django.core.cache.backends.db.DatabaseCache"
    }


def _deciding() -> tuple[object, ...]:
    """Return all that the tables are made by."""
    return _written(), _cache_tables()


_tables: Tables | None = None
_made: list[Tables] = []
"""The latest, :data:`_MOST` at most: a suite overrides the settings, and puts them back."""
_MOST = 4


def tables() -> Tables:
    """Return the tables of the models that are known now."""
    global _tables
    known = _tables
    if known is not None:
        # Asked at every statement: what the settings hold is compared by identity.
        get = conf.CACHE.values().get
        scopes, ignored, functions, withheld = known.written  # DECIDING, in its order
        if (
            get("SCOPES") is scopes
            and get("IGNORED_TABLES") is ignored
            and get("FUNCTIONS") is functions
            and get("NEVER_STORE") is withheld
        ):
            return known
    known = _tables = _made_before() or _made_now()
    return known


def _made_before() -> Tables | None:
    deciding = _deciding()
    for known in _made:
        if known.made_by == deciding:
            known.written = _written()
            return known
    return None


def _made_now() -> Tables:
    known = Tables()
    _made[:] = [known, *_made[: _MOST - 1]]
    return known


def forget() -> None:
    """Make the tables anew when they are asked for next, with all that is remembered by them."""
    global _tables
    _tables = None
    _made.clear()


def _on_class_prepared(sender: type[models.Model], **_: object) -> None:
    # A migration makes models of its own, in a registry of its own, at every operation.
    if sender._meta.apps is apps:
        forget()


class_prepared.connect(
    _on_class_prepared, dispatch_uid="django_querybudget.cache.tables", weak=False
)
