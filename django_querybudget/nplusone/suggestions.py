"""The line to write: :class:`Draft` collects what the loops of one queryset need, as code."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Model

from django_querybudget.evidence import Load, LoadKind, Step
from django_querybudget.evidence.noting import CHUNK_SIZE
from django_querybudget.evidence.relations import quoted
from django_querybudget.stacks import RawOrigin

from .calls import Call, without
from .expressions import (
    annotation,
    can_group,
    conditions_in_python,
    end_of,
    every_row,
    first_of,
    keywords,
    manager_of,
    put_named,
    related_manager,
)
from .lookups import Lookups, Nested
from .managers import manager_asked
from .roots import Root
from .starts import loaded_fields, start_of

__all__ = ["Draft", "Part"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one loop's share of a fix is."""

    saves: int
    use: str | None = None
    replaces: str | None = None


@dataclass
class Draft:
    """A queryset's line, while it is being put together."""

    root: Root
    annotated: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    saves: int = 0
    built: RawOrigin | None = None
    """The line that builds it, if that is known for certain."""
    eager: Lookups = field(init=False)

    _in_python: bool = field(init=False, default=True)
    """Whether the line of the loop that is being added is code."""

    def __post_init__(self) -> None:
        self.eager = Lookups(self.root.lookups)

    def add(
        self,
        load: Load,
        count: int,
        path: tuple[Step, ...],
        call: Call | None,
        *,
        in_python: bool,
    ) -> Part | None:
        """Add what saves ``count`` queries of ``load``; None if no line would.

        ``call`` is the expression that runs them, if the source has it. What is not ``in_python``,
        a template or a serializer's source, reads attributes and can be told nothing else.
        """
        self._in_python = in_python
        copied = any(step is not None and step.copies for step in (*path, load.step))
        refuses = self.root.is_combined or copied
        part = None if refuses else self._part(load, count, path, call)
        if part is not None and part.use is not None and call is not None:
            use = part.use if call.binds is None else f"for {call.binds} in {part.use}"
            part = replace(part, use=use, replaces=call.text)
        if part is not None and not load.prefetched:  # That is saved at the line itself.
            self.saves += part.saves
        return part

    def _part(
        self, load: Load, count: int, path: tuple[Step, ...], call: Call | None
    ) -> Part | None:
        if load.kind is LoadKind.DEFERRED:
            return self._undefer(load, count, path)
        if load.step is None:
            return None
        whole = (*path, load.step)
        if load.kind in (LoadKind.TO_ONE, LoadKind.GENERIC):
            if all(step.joins for step in whole) and self._can_join():
                self.eager.join(whole)
                return Part(saves=count)
            return self._prefetch(count, whole)
        if load.prefetched:
            return self._bypassed(load, load.step, count, call)
        return self._related(load, count, path, whole, call)

    def _can_join(self) -> bool:
        """Whether the queryset is Django's, and locks no rows: it would lock those it joins."""
        query = None if self.root.source is None else self.root.source.query
        return not self.root.is_raw and not getattr(query, "select_for_update", False)

    def _prefetch(self, count: int, path: tuple[Step, ...], use: str | None = None) -> Part | None:
        """Ask for a prefetch; None if it costs as many queries as it saves.

        It does where the queryset itself is evaluated in a loop.
        """
        cost = 0 if self.eager.has(path) else self.root.prefetch_cost(count)
        if cost >= count:
            return None
        self.eager.prefetch(path)
        return Part(saves=count - cost, use=use)

    def _undefer(self, load: Load, count: int, path: tuple[Step, ...]) -> Part | None:
        raw = self.root.source is None or self.root.is_raw
        if raw or not all(step.joins for step in path):
            return None
        _put(self.fields, "__".join((*(step.lookup for step in path), load.name)))
        return Part(saves=count)

    def _bypassed(self, load: Load, step: Step, count: int, call: Call | None) -> Part | None:
        rows = f"{_variable(load, call)}.{step.accessor}.all()"
        conditions = conditions_in_python(load.filters, "each")
        if conditions is None:
            return None
        kept = rows if not conditions else f"[each for each in {rows} if {conditions}]"
        uses = {
            "count": f"len({kept})",
            "exists": f"bool({kept})",
            "first": end_of(kept, load) or f"next(iter({kept}), None)",
            "all": kept,
        }
        refined = load.refinements and load.operation != "count"
        if load.operation not in uses or refined or not self._in_python:
            return None
        return Part(saves=count, use=uses[load.operation])

    def _related(
        self,
        load: Load,
        count: int,
        path: tuple[Step, ...],
        whole: tuple[Step, ...],
        call: Call | None,
    ) -> Part | None:
        manager = manager_asked(load, call)
        if manager == "":
            return None
        load = replace(load, manager=manager)
        if load.operation in ("count", "exists", "aggregate"):
            return self._annotate(load, count, path, call)
        if load.filters == () and not load.refinements and manager is None:
            use = end_of(f"{_variable(load, call)}.{whole[-1].accessor}.all()", load)
            if use is None or self._in_python:
                return self._prefetch(count, whole, use)
        if load.operation in ("all", "iterator", "first"):
            return self._prefetch_chosen(load, count, whole, call)
        return None

    def _annotate(
        self, load: Load, count: int, path: tuple[Step, ...], call: Call | None
    ) -> Part | None:
        row = self._row(load, path, call)
        if row is not None:
            query = None if self.root.source is None else self.root.source.query
            groups = can_group(self.root.model, query)
            if (found := annotation(load, path, groups=groups)) is None:
                return None
            name = self._put_annotation(self.annotated, found, self.root.model)
            return Part(saves=count, use=f"{row}.{name}")
        return self._annotate_nested(load, count, path, call)

    def _row(self, load: Load, path: tuple[Step, ...], call: Call | None) -> str | None:
        """Return how the line names the queryset's own row; None if it does not have it.

        ``book.author.books.count()`` has the book, ``self.books.count()`` in a property of the
        author has not: what is annotated must be the author then.
        """
        if self.root.is_raw or not all(step.joins for step in path):
            return None
        owner = None if call is None or load.step is None else call.owner(load.step.accessor)
        if owner is None and load.row and self._in_python:
            owner = ast.parse(load.row, mode="eval").body
        if owner is None:
            return f"<{self.root.model._meta.model_name}>"
        return without(owner, [step.accessor for step in path])

    def _annotate_nested(
        self, load: Load, count: int, path: tuple[Step, ...], call: Call | None
    ) -> Part | None:
        if not path or load.owner is None or self._is_joined_already(path):
            return None
        if (found := annotation(load, (), groups=can_group(load.owner))) is None:
            return None
        key = "__".join(step.accessor for step in path)
        joins = all(step.joins for step in path)
        nested = self.eager.nested.get(key)
        # A prefetch where a join would do, unless one is there already.
        added = joins and nested is None and key not in self.root.lookups
        extra = self.root.prefetch_cost(count) if added else 0
        if extra >= count:
            return None
        if nested is None:
            if not self.eager.can_nest(key):
                return None
            lookup = "__".join(step.lookup for step in path) if joins else ""
            rows = every_row(load.owner) if path[-1].joins else manager_of(load.owner)
            nested = self.eager.nested[key] = Nested(rows, lookup)
        name = self._put_annotation(nested.annotated, found, load.owner)
        return Part(saves=count - extra, use=f"{_variable(load, call)}.{name}")

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

    def _prefetch_chosen(
        self, load: Load, count: int, whole: tuple[Step, ...], call: Call | None
    ) -> Part | None:
        written = keywords(load.filters)
        chain = load.chain if load.operation != "first" else first_of(load)
        if written is None or chain is None or load.model is None:
            return None
        if not chain and not written and load.manager is None:
            return None
        filtered = f".filter({written})" if written else ".all()" if chain[:1] in ("", "[") else ""
        rows = f"{related_manager(load.model, load.manager)}{filtered}{chain}"
        lookup = quoted("__".join(step.accessor for step in whole))
        if self.root.prefetch_cost(count) >= count:
            return None
        before = len(self.eager.prefetched)
        name = put_named(
            self.eager.prefetched,
            f"chosen_{whole[-1].accessor}",
            lambda name: f"Prefetch({lookup}, queryset={rows}, to_attr={quoted(name)})",
            load.owner or self.root.model,
            self._taken(),
        )
        use = f"{_variable(load, call)}.{name}"
        if load.operation == "first":
            use = f"next(iter({use}), None)" if self._in_python else f"{use}.0"
        added = len(self.eager.prefetched) > before
        cost = self.root.prefetch_cost(count) if added else 0
        return Part(saves=count - cost, use=use)

    def code(self, manager: str | None) -> str | None:
        """Return the expression; None if it would change nothing.

        ``manager`` is what the queryset starts from, where its source is known.
        """
        code = self.eager.code()
        if self.annotated:
            code += f".annotate({', '.join(self.annotated)})"
        if self.fields:
            code += loaded_fields(self.root, self.fields)
        source = self.root.source
        if source is not None and source.lacks_chunk_size and self.eager.prefetches:
            code += f"  # and .iterator(chunk_size={CHUNK_SIZE}): it prefetches chunk by chunk"
        return f"{start_of(self.root, manager)}{code}" if code else None


def _put(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _variable(load: Load, call: Call | None) -> str:
    """Return how the line names the row that has the relation; in brackets if it does not."""
    owner = None if call is None or load.step is None else call.owner(load.step.accessor)
    if owner is not None:
        return ast.unparse(owner)
    return load.row or f"<{'row' if load.owner is None else load.owner._meta.model_name}>"
