"""Queries of each row's related rows: counted, looked for, chosen from."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from django.db.models import Model

from django_querybudget.evidence import Step
from django_querybudget.evidence.relations import quoted
from django_querybudget.nplusone.source.calls import without
from django_querybudget.nplusone.source.managers import manager_asked

from .bypassed import read_rows
from .drafts import Draft
from .eager_loading import Nested, name_of
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
from .needs import Need, Part

__all__ = ["answer"]


def answer(draft: Draft, need: Need) -> Part | None:
    """Answer what the line asks of the related rows: a prefetch, an annotation, or chosen rows."""
    manager = manager_asked(need.load, need.call)
    if manager == "":
        return None
    need = replace(need, load=replace(need.load, manager=manager))
    by_prefetch = _by_prefetch(draft, need)
    if by_prefetch is not None:
        return by_prefetch
    if need.load.operation in ("count", "exists", "aggregate"):
        return _annotate(draft, need)
    chosen = need.load.operation in ("all", "iterator", "first")
    return _prefetch_chosen(draft, need) if chosen else None


def _by_prefetch(draft: Draft, need: Need) -> Part | None:
    """Answer from a plain prefetch: what reads it is right wherever else it is read."""
    operation, use = need.load.operation, None
    if need.is_plain and operation in ("count", "exists"):
        # These read a prefetch as they stand. Alone, an annotation is less to load.
        alone = not need.shared and need.in_python and not draft.eager.has(need.whole)
        if alone and draft.reaches(need):
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
    return draft.prefetch(need, use or None)


def _annotate(draft: Draft, need: Need) -> Part | None:
    if not draft.reaches(need):
        return None
    row = _row(draft, need)
    if row is None:
        return _annotate_nested(draft, need)
    query = draft.query
    groups = can_group(draft.root.model, query)
    found = annotation(need.load, need.path, groups=groups)
    if found is None or not _can_read(need):
        return None
    name = _put_annotation(draft, draft.annotated, found, draft.root.model)
    return Part(saves=need.count, use=need.read_if_there(name, f"{row}.{name}", row))


def _row(draft: Draft, need: Need) -> str | None:
    """Return how the line names the queryset's own row; None if it does not have it.

    ``book.author.books.count()`` has the book, ``draft.books.count()`` in a property of the
    author has not: what is annotated must be the author then.
    """
    if draft.root.is_raw or not all(step.joins for step in need.path):
        return None
    owner = need.owner
    if owner is None and need.load.row:
        owner = ast.parse(need.load.row, mode="eval").body
    if owner is None:
        return f"<{draft.root.model._meta.model_name}>"
    return without(owner, [step.accessor for step in need.path])


def _annotate_nested(draft: Draft, need: Need) -> Part | None:
    path, owner = need.path, need.load.owner
    if not path or owner is None or _is_joined_already(draft, path) or not _can_read(need):
        return None
    if (found := annotation(need.load, (), groups=can_group(owner))) is None:
        return None
    key = name_of(path)
    joins = all(step.joins for step in path)
    nested = draft.eager.nested.get(key)
    # A prefetch where a join would do, unless one is there already.
    added = joins and nested is None and key not in draft.root.lookups
    extra = draft.root.prefetch_cost(need.count) if added else 0
    if extra >= need.count or (nested is None and not draft.eager.can_nest(key)):
        return None
    if nested is None:
        lookup = "__".join(step.lookup for step in path) if joins else ""
        rows = every_row(owner) if path[-1].joins else manager_of(owner)
        nested = draft.eager.nested[key] = Nested(rows, lookup)
    name = _put_annotation(draft, nested.annotated, found, owner)
    use = need.read_if_there(name, f"{need.row}.{name}", need.row)
    return Part(saves=need.count - extra, use=use)


def _put_annotation(
    draft: Draft, lines: list[str], found: tuple[str, str], model: type[Model]
) -> str:
    return put_named(lines, found[0], lambda name: f"{name}={found[1]}", model, draft.taken)


def _is_joined_already(draft: Draft, path: tuple[Step, ...]) -> bool:
    """Whether the queryset joins it: what is joined is not prefetched, thus not annotated."""
    query = draft.query
    joined: Any = getattr(query, "select_related", False)
    for step in path:
        joined = joined.get(step.lookup) if isinstance(joined, dict) else None
    return isinstance(joined, dict)


def _prefetch_chosen(draft: Draft, need: Need) -> Part | None:
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
    if draft.root.prefetch_cost(need.count) >= need.count:
        return None
    before = len(draft.eager.prefetched)
    name = put_named(
        draft.eager.prefetched,
        f"chosen_{whole[-1].accessor}",
        lambda name: f"Prefetch({lookup}, queryset={rows}, to_attr={quoted(name)})",
        load.owner or draft.root.model,
        draft.taken,
    )
    use = f"{need.row}.{name}"
    if load.operation == "first":
        use = f"next(iter({use}), None)" if need.in_python else f"{use}.0"
    added = len(draft.eager.prefetched) > before
    cost = draft.root.prefetch_cost(need.count) if added else 0
    use_if_there = need.read_if_there(name, use, need.row)
    return Part(saves=need.count - cost, use=use_if_there, chosen=name)


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
