"""Which line each loop of a log needs, and which loops need one line together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace

from django_querybudget.evidence import Load, LoadKind, PlaceKey, Step, place_key
from django_querybudget.nplusone.fixes.drafts import Draft
from django_querybudget.nplusone.fixes.hosts import fix_for_host
from django_querybudget.nplusone.fixes.imports import with_imports
from django_querybudget.nplusone.fixes.needs import Need, Part
from django_querybudget.nplusone.fixes.on_queryset import add
from django_querybudget.nplusone.fixes.own_fixes import own_fix
from django_querybudget.nplusone.fixes.places import Place, find_place, is_shared
from django_querybudget.nplusone.fixes.roots import Root, find_root
from django_querybudget.nplusone.fixes.written import as_written, written_by
from django_querybudget.nplusone.source.calls import Call, find_call, find_queryset
from django_querybudget.recording.records import QueryLog
from django_querybudget.stacks import call_path

from .detection import Loop
from .findings import Fix
from .naming import labels_of
from .parameters import varies

__all__ = ["Drafting"]

_TEMPLATE = "A template cannot write that: let the view do so, and hand the rows to the template."

# Methods whose call is replaced, where the fix is more than eager loading.
_ASKING = {"count", "exists", "aggregate", "first", "last"}


class Drafting:
    """The loops of one log, and the drafts of the lines that they need."""

    def __init__(self, log: QueryLog, loops: list[Loop]) -> None:
        self.log = log
        self.calls = _calls(loops)
        self.drafts: dict[Root, Draft] = {}
        self.chosen: dict[PlaceKey | None, tuple[Root, str]] = {}
        """By the query of the rows: the queryset that prefetches them into an attribute, its name.
        """

    def written(self) -> Iterator[tuple[list[Loop], Part | None, Fix | None]]:
        """Yield the loops that one call runs, what they add to their line, and the line."""
        # First what needs the rows themselves: their prefetch answers what is counted of them, too.
        order = sorted(range(len(self.calls)), key=lambda each: not _reads_all(self.calls[each][0]))
        drafted = {each: self._draft(self.calls[each][0]) for each in order}
        if self.chosen:
            self._move_below_chosen(drafted)
        parts = [drafted[each] for each in range(len(self.calls))]
        used = {root for root, _ in parts}
        fixes = {
            key: with_imports(_fix(draft)) for key, draft in self.drafts.items() if key in used
        }
        for loops, (root, part) in zip(self.calls, parts, strict=True):
            yield loops, *(own_fix(loops) or (part, None if root is None else fixes[root]))

    def _draft(self, loop: Loop) -> tuple[Root | None, Part | None]:
        load = loop.load
        if load is None or load.kind in (LoadKind.LOOKUP, LoadKind.WRITE, LoadKind.PREFETCH):
            return None, None
        if load.kind is LoadKind.TO_MANY and varies(loop.records, load.filters):
            return None, None
        loads = (load, *loop.others)
        found = [find_root(self.log.evidence, each) for each in loads]
        roots = [each for each in found if each is not None]
        if len(roots) < len(loads) or len({replace(each, path=()) for each in roots}) > 1:
            return None, None  # No one line would load all of its rows.
        own = replace(roots[0], path=())
        draft = self.drafts.get(own)
        if draft is None:
            draft = Draft(own, find_place(own, load.built, load.view))
        part = self._add(draft, loop, loads, [each.path for each in roots])
        if part is None or load.prefetched:
            return None, part
        self.drafts[own] = draft
        return own, part

    def _add(
        self,
        draft: Draft,
        loop: Loop,
        loads: tuple[Load, ...],
        paths: list[tuple[Step, ...]],
    ) -> Part | None:
        """Add what a loop loads, along each way that its rows come; None if one has no line."""
        count = len(loop.records)
        place = loop.records[-1].origin
        whole: Part | None = None
        for load, path in zip(loads, paths, strict=True):
            part = add(draft, _need(loop, load, path, draft.place, draft.root))
            if part is None:
                return None
            if part.chosen is not None and place is not None:
                key = place_key(loop.records[-1].sql, place)
                self.chosen[key] = replace(draft.root, path=()), part.chosen
            if whole is None:
                whole = part
            else:  # How many rows came which way is not known: all of them once, and every cost.
                draft.saves -= count
                whole = replace(whole, saves=whole.saves - (count - part.saves))
        return whole

    def _move_below_chosen(self, drafted: dict[int, tuple[Root | None, Part | None]]) -> None:
        """Write what chosen rows lead to into the ``Prefetch`` that chooses them.

        The line that their queryset stands at is to read an attribute instead: it gets no advice of
        its own.
        """
        below = {
            number: root
            for number in drafted
            if (root := self._root_below(self.calls[number][0])) is not None
        }
        stay = {root for number, (root, _) in drafted.items() if number not in below}
        for number, root in below.items():
            if drafted[number][0] is None or drafted[number][0] not in stay:
                found = self._below(self.calls[number][0], root)
                drafted[number] = drafted[number] if found is None else found

    def _root_below(self, loop: Loop) -> Root | None:
        load = loop.load
        if load is None or loop.others or load.kind not in (LoadKind.TO_ONE, LoadKind.TO_MANY):
            return None
        if load.kind is LoadKind.TO_MANY and not _reads_all(loop):
            return None
        root = find_root(self.log.evidence, load)
        return root if root is not None and root.key in self.chosen else None

    def _below(self, loop: Loop, root: Root) -> tuple[Root, Part] | None:
        load = loop.load
        own, name = self.chosen[root.key]
        outer = self.drafts[own]
        inner = Draft(replace(root, path=(), runs=own.runs), outer.place)
        inner.eager = outer.eager.chosen.setdefault(name, inner.eager)
        if load is None:
            return None
        part = add(inner, _need(loop, load, root.path, outer.place, own))
        if part is None or part.use is not None:
            return None
        outer.saves += part.saves
        return own, part


def _reads_all(loop: Loop) -> bool:
    load = loop.load
    return load is not None and load.operation == "all" and load.filters == () == load.refinements


def _calls(loops: list[Loop]) -> list[list[Loop]]:
    """Return the loops, those together that one call writes by.

    delete() with its cascades, get_or_create(), a save() to two tables: several statements a row.
    """
    calls: dict[Hashable, list[Loop]] = {}
    writes: dict[Hashable, Hashable] = {}
    for loop in sorted(loops, key=lambda each: each.load is None):
        key: Hashable = id(loop)
        place = loop.origin, call_path(loop.records[0].trail), loop.alias
        if loop.load is None:  # Its texts differ too often, in lists of values: which call's?
            key = writes.get(place, key)
        elif loop.load.kind in (LoadKind.WRITE, LoadKind.PREFETCH):
            key = writes[place] = *place, loop.load.operation, *labels_of(loop.load)
        calls.setdefault(key, []).append(loop)
    number = {id(loop): position for position, loop in enumerate(loops)}
    return sorted(calls.values(), key=lambda each: number[id(each[0])])


def _need(loop: Loop, load: Load, path: tuple[Step, ...], at: Place, root: Root) -> Need:
    place, call = loop.records[-1].origin, _call(loop, load)
    if load.filters or load.chain or load.aggregate:
        there = at.built
        line = None if there is None else there.line
        filename = "" if there is None else there.filename
        load = as_written(load, written_by(load, place, call, filename, line))
    return Need(
        load=load,
        count=len(loop.records),
        path=path,
        call=call,
        in_python=place is not None and place.is_plain,
        shared=load.included or is_shared(loop.origin, at, root),
        alias=loop.alias,
    )


def _call(loop: Loop, load: Load) -> Call | None:
    """Return the expression that runs a related query, if the source has it."""
    if load.kind is not LoadKind.TO_MANY or load.step is None:
        return None
    origin = loop.records[-1].origin
    if load.operation in _ASKING:
        return find_call(origin, load.operation)
    return find_queryset(origin, load.step.accessor)


def _fix(draft: Draft) -> Fix | None:
    built, manager, evaluated = draft.place
    host = None if evaluated is None else evaluated.host
    if built is None and host is not None and draft.chain():
        fix = fix_for_host(draft, host)
        if fix is not None:
            return fix
    code = draft.code(manager)
    if code is None:
        return None
    return Fix(
        code=code,
        place=built or evaluated,
        built=built is not None,
        saves=draft.saves,
        note=_TEMPLATE if built is None and evaluated is not None and evaluated.template else "",
        replaces=draft.eager.replaced,
    )
