"""Eager loads that no test of the whole run read, and patches that take them out."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django_querybudget.nplusone import Cause

from .edits import Edit
from .patch import Found, NotWritten, Patch
from .source_text import SourceText
from .watching import lookup_of

__all__ = ["Removal", "UnreadLoad", "removals"]


@dataclass(frozen=True)
class UnreadLoad:
    """A relation that a line loads eagerly, as the processes of a rehearsal told of it."""

    id: str
    relation: str
    origin: str
    operation: str
    lookup: tuple[str, ...]
    call: tuple[str, int, int] | None
    """File and span of the call that names it, if that is known."""
    reason: str
    """Why it is not."""

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> UnreadLoad:
        """Return what :class:`~.watching.Watch` has written down."""
        names = ("id", "relation", "origin", "operation", "reason")
        call = None if data["call"] is None else tuple(data["call"])
        return cls(**{each: data[each] for each in names}, lookup=tuple(data["lookup"]), call=call)

    @property
    def what(self) -> str:
        """What stays the same when lines come and go."""
        return self.id.rpartition(" ")[0]

    @property
    def found(self) -> Found:
        """The finding."""
        return Found(Cause.UNUSED_EAGER_LOAD.value, self.relation, self.origin)


@dataclass(frozen=True)
class Removal:
    """A patch that loads no more than what is read."""

    patch: Patch
    loads: tuple[UnreadLoad, ...]


def removals(
    loads: Mapping[str, UnreadLoad], read: Collection[str], contents: Callable[[str], bytes]
) -> tuple[list[Removal], list[NotWritten]]:
    """Return the patches that take out what nobody read, and the findings without one.

    All that one call loads in vain is one patch. ``contents`` returns what a file holds.
    """
    by_call: dict[tuple[str, int, int], list[UnreadLoad]] = {}
    left: list[NotWritten] = []
    for name, load in loads.items():
        if name in read:
            continue
        if load.call is None:
            left.append(NotWritten(load.found, load.reason))
        else:
            by_call.setdefault(load.call, []).append(load)
    found: list[Removal] = []
    for (path, start, end), unread in by_call.items():
        # What is read of one evaluation of the call is read.
        same = [each for each in loads.values() if each.call == (path, start, end)]
        useful = {each.lookup for each in same if each.id in read}
        gone = tuple(each for each in unread if each.lookup not in useful)
        source = SourceText(contents(path))
        vain = {each.lookup for each in gone}
        edits = tuple(_edits(source, path, _node_at(source, start, end), vain))
        if edits:
            patch = Patch(edits, tuple(dict.fromkeys(each.found for each in gone)))
            found.append(Removal(patch, gone))
    return found, left


def _node_at(source: SourceText, start: int, end: int) -> ast.Call:
    return next(
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (source.start_of(node), source.end_of(node)) == (start, end)
    )


def _edits(
    source: SourceText, path: str, node: ast.Call, vain: Collection[tuple[str, ...]]
) -> Iterator[Edit]:
    kept: list[str] = []
    shortened: list[str] = []
    for argument in node.args:
        hops = lookup_of(argument)
        read = hops
        while read and read in vain:
            read = read[:-1]
        if read == hops:
            kept.append(source.segment(argument))
        elif read:
            shortened.append(f'"{"__".join(read)}"')
    if len(kept) == len(node.args):
        return
    for name in dict.fromkeys(shortened):
        longer = [each for each in (*kept, *shortened) if each.startswith(f"{name[:-1]}__")]
        if name not in kept and not longer:
            kept.append(name)
    if kept:
        start, end = source.start_of(node.args[0]), source.end_of(node.args[-1])
        yield Edit(path, start, end, ", ".join(kept))
        return
    method = node.func
    if isinstance(method, ast.Attribute):
        # Of a manager a queryset must be left.
        alone = not isinstance(method.value, ast.Call) and not isinstance(
            source.parents.get(node), ast.Attribute
        )
        start = source.end_of(method.value)
        yield Edit(path, start, source.end_of(node), ".all()" if alone else "")
