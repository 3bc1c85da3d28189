"""The line to write: :class:`Draft` collects what the loops of one queryset need, as code."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Model

from django_querybudget.evidence import LoadKind, Step
from django_querybudget.evidence.noting import CHUNK_SIZE
from django_querybudget.evidence.relations import quoted
from django_querybudget.nplusone.source.calls import without
from django_querybudget.nplusone.source.managers import manager_asked

from .eager_loading import Lookups, Nested, name_of
from .expressions import (
    annotation,
    can_group,
    end_of,
    every_row,
    first_of,
    keywords,
    manager_of,
    put_named,
    related_manager,
)
from .needs import Need, Part, follows
from .places import Place
from .readings import read_rows
from .roots import Root
from .starts import loaded_fields, start_of

__all__ = ["Draft"]

# What reads a prefetch as it stands.
_READ_PLAINLY = ("get", "all", "count", "exists")


@dataclass
class Draft:
    """A queryset's line, while it is being put together."""

    root: Root
    place: Place
    annotated: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    saves: int = 0
    eager: Lookups = field(init=False)

    def __post_init__(self) -> None:
        self.eager = Lookups(self.root.lookups)

    def add(self, need: Need) -> Part | None:
        """Add what saves the queries of ``need``; None if no line would, or none that is valid."""
        copied = any(step.copies for step in need.whole)
        if self.root.is_combined or copied or not follows(self.root.model, need.whole):
            return None
        part = self._part(need)
        told = None if part is None else need.told(part)
        if told is not None and not need.load.prefetched:  # That is saved at the line itself.
            self.saves += told.saves
        return told

    def _part(self, need: Need) -> Part | None:
        if need.load.kind is LoadKind.DEFERRED:
            return self._undefer(need)
        if need.load.step is None:
            return None
        if any(step.generic for step in need.whole[:-1]):
            return self._behind_generic(need)
        if need.load.kind in (LoadKind.TO_ONE, LoadKind.GENERIC):
            return self._one(need)
        if need.load.prefetched:
            use = read_rows(need)
            return None if use is None else Part(saves=need.count, use=use)
        return self._related(need)

    def _one(self, need: Need) -> Part | None:
        if not all(step.joins for step in need.whole) or not self._can_join():
            return self._prefetch(need)
        self.eager.join(need.whole)
        return Part(saves=need.count)

    def _can_join(self) -> bool:
        """Whether the queryset is Django's, and locks no rows: it would lock those it joins."""
        query = None if self.root.source is None else self.root.source.query
        return not self.root.is_raw and not getattr(query, "select_for_update", False)

    def _prefetch(self, need: Need, use: str | None = None) -> Part | None:
        """Ask for a prefetch; None if it costs as many queries as it saves.

        It does where the queryset itself is evaluated in a loop.
        """
        # One query for each model that a generic foreign key leads to.
        free = self.eager.has(need.whole) and not need.whole[-1].generic
        cost = 0 if free else self.root.prefetch_cost(need.count)
        if cost >= need.count:
            return None
        self.eager.prefetch(need.whole)
        return Part(saves=need.count - cost, use=use)

    def _behind_generic(self, need: Need) -> Part | None:
        if not need.is_plain or need.load.operation not in _READ_PLAINLY:
            return None
        found = self.eager.behind_generic(need.whole)
        if found is None or any(step.generic for step in found[1][:-1]):
            return None
        lookups, rest = found
        if all(step.joins for step in rest):
            lookups.join(rest)
            return Part(saves=need.count)
        cost = 0 if lookups.has(rest) else self.root.prefetch_cost(need.count)
        lookups.prefetch(rest)
        return Part(saves=need.count - cost)

    def _undefer(self, need: Need) -> Part | None:
        raw = self.root.source is None or self.root.is_raw
        if raw or not all(step.joins for step in need.path):
            return None
        _put(self.fields, "__".join((*(step.lookup for step in need.path), need.load.name)))
        return Part(saves=need.count)

    def _related(self, need: Need) -> Part | None:
        manager = manager_asked(need.load, need.call)
        if manager == "":
            return None
        need = replace(need, load=replace(need.load, manager=manager))
        by_prefetch = self._by_prefetch(need)
        if by_prefetch is not None:
            return by_prefetch
        if need.load.operation in ("count", "exists", "aggregate"):
            return self._annotate(need)
        chosen = need.load.operation in ("all", "iterator", "first")
        return self._prefetch_chosen(need) if chosen else None

    def _by_prefetch(self, need: Need) -> Part | None:
        """Answer from a plain prefetch: what reads it is right wherever else it is read."""
        operation, use = need.load.operation, None
        if need.is_plain and operation in ("count", "exists"):
            # These read a prefetch as they stand. Alone, an annotation is less to load.
            if not need.shared and need.in_python and not self.eager.has(need.whole):
                return None
        elif need.is_plain and operation != "all":
            use = _end(need)
            if use is None or (use and not need.in_python):
                return None
        elif not need.is_cut and not need.is_plain:
            fits = need.load.manager is None and need.call is not None
            values = "values" in need.load.refinements
            use = read_rows(need) if fits and (need.shared or values) else None
            if use is None:
                return None
        return self._prefetch(need, use or None)

    def _annotate(self, need: Need) -> Part | None:
        row = self._row(need)
        if row is None:
            return self._annotate_nested(need)
        query = None if self.root.source is None else self.root.source.query
        groups = can_group(self.root.model, query)
        found = annotation(need.load, need.path, groups=groups)
        if found is None or not _can_read(need):
            return None
        name = self._put_annotation(self.annotated, found, self.root.model)
        return Part(saves=need.count, use=need.read_if_there(name, f"{row}.{name}", row))

    def _row(self, need: Need) -> str | None:
        """Return how the line names the queryset's own row; None if it does not have it.

        ``book.author.books.count()`` has the book, ``self.books.count()`` in a property of the
        author has not: what is annotated must be the author then.
        """
        if self.root.is_raw or not all(step.joins for step in need.path):
            return None
        owner = need.owner
        if owner is None and need.load.row and need.in_python:
            owner = ast.parse(need.load.row, mode="eval").body
        if owner is None:
            return f"<{self.root.model._meta.model_name}>"
        return without(owner, [step.accessor for step in need.path])

    def _annotate_nested(self, need: Need) -> Part | None:
        path, owner = need.path, need.load.owner
        if not path or owner is None or self._is_joined_already(path) or not _can_read(need):
            return None
        if (found := annotation(need.load, (), groups=can_group(owner))) is None:
            return None
        key = name_of(path)
        joins = all(step.joins for step in path)
        nested = self.eager.nested.get(key)
        # A prefetch where a join would do, unless one is there already.
        added = joins and nested is None and key not in self.root.lookups
        extra = self.root.prefetch_cost(need.count) if added else 0
        if extra >= need.count or (nested is None and not self.eager.can_nest(key)):
            return None
        if nested is None:
            lookup = "__".join(step.lookup for step in path) if joins else ""
            rows = every_row(owner) if path[-1].joins else manager_of(owner)
            nested = self.eager.nested[key] = Nested(rows, lookup)
        name = self._put_annotation(nested.annotated, found, owner)
        use = need.read_if_there(name, f"{need.row}.{name}", need.row)
        return Part(saves=need.count - extra, use=use)

    def _put_annotation(self, lines: list[str], found: tuple[str, str], model: type[Model]) -> str:
        return put_named(lines, found[0], lambda name: f"{name}={found[1]}", model, self._taken())

    def _taken(self) -> set[str]:
        """Return the names that the queryset has given to values of its own."""
        query = None if self.root.source is None else self.root.source.query
        return self.eager.attributes | set(getattr(query, "annotations", ()))

    def _is_joined_already(self, path: tuple[Step, ...]) -> bool:
        """Whether the queryset joins it: what is joined is not prefetched, thus not annotated."""
        query = None if self.root.source is None else self.root.source.query
        joined: Any = getattr(query, "select_related", False)
        for step in path:
            joined = joined.get(step.lookup) if isinstance(joined, dict) else None
        return isinstance(joined, dict)

    def _prefetch_chosen(self, need: Need) -> Part | None:
        load, whole = need.load, need.whole
        written = keywords(load.filters)
        chain = load.chain if load.operation != "first" else first_of(load)
        if written is None or chain is None or load.model is None or not _can_read(need):
            return None
        if not chain and not written and load.manager is None:
            return None
        filtered = f".filter({written})" if written else ".all()" if chain[:1] in ("", "[") else ""
        rows = f"{related_manager(load.model, load.manager)}{filtered}{chain}"
        lookup = quoted(name_of(whole))
        if self.root.prefetch_cost(need.count) >= need.count:
            return None
        before = len(self.eager.prefetched)
        name = put_named(
            self.eager.prefetched,
            f"chosen_{whole[-1].accessor}",
            lambda name: f"Prefetch({lookup}, queryset={rows}, to_attr={quoted(name)})",
            load.owner or self.root.model,
            self._taken(),
        )
        use = f"{need.row}.{name}"
        if load.operation == "first":
            use = f"next(iter({use}), None)" if need.in_python else f"{use}.0"
        added = len(self.eager.prefetched) > before
        cost = self.root.prefetch_cost(need.count) if added else 0
        return Part(saves=need.count - cost, use=need.read_if_there(name, use, need.row))

    def code(self, manager: str | None) -> str | None:
        """Return the expression; None if it would change nothing.

        ``manager`` is what the queryset starts from, where its source is known.
        """
        chain = self.chain()
        return f"{start_of(self.root, manager)}{chain}" if chain else None

    def chain(self) -> str:
        """Return the calls to write after the start of the queryset; nothing if there are none."""
        code = self.eager.code()
        if self.annotated:
            code += f".annotate({', '.join(self.annotated)})"
        if self.fields:
            code += loaded_fields(self.root, self.fields)
        source = self.root.source
        if source is not None and source.lacks_chunk_size and self.eager.prefetches:
            code += f"  # and .iterator(chunk_size={CHUNK_SIZE}): it prefetches chunk by chunk"
        return code

    def only_joins(self) -> list[str] | None:
        """Return the names to join; None if more than ``select_related()`` is needed."""
        if self.annotated or self.fields or self.eager.prefetches:
            return None
        return self.eager.joined()


def _put(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _can_read(need: Need) -> bool:
    """Whether the line can be told to read an attribute that only this queryset makes."""
    return need.read_if_there("", "", "") is not None


def _end(need: Need) -> str | None:
    """Return what reads an end of the prefetched rows; nothing if the method does so itself.

    None if it is another method.
    """
    if need.load.operation == "iterator":
        return need.rows
    if need.load.operation not in ("first", "last"):
        return None
    return end_of(need.rows, need.load) or ""
