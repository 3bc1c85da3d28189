"""N+1 queries: which loops a log has, why, and the line to write. See :func:`find_nplusone`.

Nothing of the ORM is patched. *Detection* reads the log: the same shape from the same line, often
enough, on different values. *Attribution* read the stack, once, when that became certain: the
relation, the instance, the query that the instance came from. *Suggestions* chain the relations
into one line for each queryset.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace

from django_querybudget.conf import conf
from django_querybudget.conf.until import accepted
from django_querybudget.evidence import Load, LoadKind, PlaceKey, Step, place_key
from django_querybudget.nplusone.fixes.causes import add
from django_querybudget.nplusone.fixes.drafts import Draft
from django_querybudget.nplusone.fixes.expressions import model_name
from django_querybudget.nplusone.fixes.hints import hint_for
from django_querybudget.nplusone.fixes.hosts import fix_for_host
from django_querybudget.nplusone.fixes.imports import with_imports
from django_querybudget.nplusone.fixes.needs import Need, Part
from django_querybudget.nplusone.fixes.own_fixes import own_fix
from django_querybudget.nplusone.fixes.places import find_place, is_shared
from django_querybudget.nplusone.fixes.roots import Root, find_root
from django_querybudget.nplusone.source.calls import Call, find_call, find_queryset
from django_querybudget.recording.records import QueryLog
from django_querybudget.stacks import call_path, is_library

from .allowlist import ignored_at, matching, refused_at
from .detection import Loop, find_loops
from .findings import Cause, Finding, Fix
from .parameters import varies

__all__ = ["Cause", "Finding", "Fix", "find_nplusone"]

_CAUSES = {
    LoadKind.TO_ONE: Cause.RELATION,
    LoadKind.TO_MANY: Cause.RELATION,
    LoadKind.GENERIC: Cause.RELATION,
    LoadKind.DEFERRED: Cause.DEFERRED,
    LoadKind.PREFETCH: Cause.PREFETCH,
    LoadKind.LOOKUP: Cause.LOOKUP,
    LoadKind.RAW: Cause.LOOKUP,
    LoadKind.WRITE: Cause.WRITE,
}


_TEMPLATE = "A template cannot write that: let the view do so, and hand the rows to the template."

# Methods whose call is replaced, where the fix is more than eager loading.
_ASKING = {"count", "exists", "aggregate", "first", "last"}


def find_nplusone(
    log: QueryLog,
    *,
    threshold: int | None = None,
    allow: Iterable[str | Mapping[str, object]] = (),
) -> tuple[Finding, ...]:
    """Return the N+1 queries of ``log``, in the order in which they began.

    ``threshold`` is how often one line must run one shape; ``QUERYBUDGET["NPLUSONE_THRESHOLD"]`` if
    it is None. It is of no use below the threshold that the log was recorded with. ``allow`` adds
    to ``QUERYBUDGET["NPLUSONE_ALLOW"]``. Raises ``TypeError`` for anything but a log.
    """
    if not isinstance(log, QueryLog):
        raise TypeError(f"find_nplusone() takes the log of capture_queries(), not {log!r}.")
    entries = (*conf.NPLUSONE_ALLOW, *map(accepted, allow))
    loops = [
        loop
        for loop in find_loops(log, conf.NPLUSONE_THRESHOLD if threshold is None else threshold)
        if not any(map(ignored_at, loop.lines))
        and all(
            each.until is not None and each.until.days_past
            for each in matching(entries, _labels(loop.load), loop.origin)
        )
    ]
    return tuple(_merged(_Findings(log, loops).findings()))


def _merged(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings, those as one that say the same: of several requests, of several ways."""
    same: dict[Finding, list[Finding]] = {}
    for each in findings:
        same.setdefault(replace(each, count=0, saves=0, peers=None), []).append(each)
    for first, *more in same.values():
        if not more:
            yield first
            continue
        count, saves = sum(each.count for each in more), sum(each.saves for each in more)
        yield replace(first, count=first.count + count, saves=first.saves + saves)


class _Findings:
    """The loops of one log, and the drafts of the lines that they need."""

    def __init__(self, log: QueryLog, loops: list[Loop]) -> None:
        self.log = log
        self.calls = _calls(loops)
        self.drafts: dict[Root, Draft] = {}
        self.chosen: dict[PlaceKey | None, tuple[Root, str]] = {}
        """By the query of the rows: the queryset that prefetches them into an attribute, its name.
        """

    def findings(self) -> list[Finding]:
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
        return [
            _finding(loops, *(own_fix(loops) or (part, None if root is None else fixes[root])))
            for loops, (root, part) in zip(self.calls, parts, strict=True)
        ]

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
            draft = Draft(own, find_place(own, load.built))
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
            need = Need(
                load=load,
                count=count,
                path=path,
                call=_call(loop, load),
                in_python=place is not None and place.is_plain,
                shared=load.included or is_shared(loop.origin, draft.place, draft.root),
            )
            part = add(draft, need)
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
        load, place = loop.load, loop.records[-1].origin
        own, name = self.chosen[root.key]
        outer = self.drafts[own]
        inner = Draft(replace(root, path=(), runs=own.runs), outer.place)
        inner.eager = outer.eager.chosen.setdefault(name, inner.eager)
        if load is None:
            return None
        need = Need(
            load=load,
            count=len(loop.records),
            path=root.path,
            call=_call(loop, load),
            in_python=place is not None and place.is_plain,
            shared=load.included or is_shared(loop.origin, outer.place, own),
        )
        part = add(inner, need)
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
            key = writes[place] = *place, loop.load.operation, *_labels(loop.load)
        calls.setdefault(key, []).append(loop)
    number = {id(loop): position for position, loop in enumerate(loops)}
    return sorted(calls.values(), key=lambda each: number[id(each[0])])


def _call(loop: Loop, load: Load) -> Call | None:
    """Return the expression that runs a related query, if the source has it."""
    if load.kind is not LoadKind.TO_MANY or load.step is None:
        return None
    origin = loop.records[-1].origin
    if load.operation in _ASKING:
        return find_call(origin, load.operation)
    return find_queryset(origin, load.step.accessor)


def _finding(loops: list[Loop], part: Part | None, fix: Fix | None) -> Finding:
    loop = loops[0]
    load = loop.load
    cause = Cause.LOOKUP if load is None else _cause(load)
    saves = part.saves if part is not None else fix.saves if fix is not None else 0
    return Finding(
        cause=cause,
        relation=next(iter(_labels(load, short=True)), ""),
        operation=load.operation if load is not None else "",
        origin=loop.origin,
        count=sum(len(each.records) for each in loops),
        saves=saves,
        fix=fix,
        use=None if part is None else part.use,
        replaces=None if part is None else part.replaces,
        alias=loop.alias,
        peers=None if load is None else load.peers,
        fingerprint=loop.fingerprint,
        package=_package_of(loop),
        refused=_refused(loop),
        hint=hint_for(cause, loop) if fix is None and (part is None or part.use is None) else "",
    )


def _refused(loop: Loop) -> str:
    """Return why a comment, or an entry of the allowlist, that means the loop does not hold."""
    for each in matching(conf.NPLUSONE_ALLOW, _labels(loop.load), loop.origin):
        return f'QUERYBUDGET["NPLUSONE_ALLOW"], {each.pattern!r}, {each.until}'
    return next(filter(None, map(refused_at, reversed(loop.lines))), "")


def _package_of(loop: Loop) -> str:
    """Return the name of the package that runs a loop, if no line of the project does."""
    origin = loop.records[0].origin
    if origin is None or origin.code is None or origin.host or not is_library(origin.code):
        return ""
    *_, path = re.split(r"[/\\](?:site|dist)-packages[/\\]", origin.code.co_filename)
    return re.split(r"[/\\]", path)[0]


def _cause(load: Load) -> Cause:
    if load.kind is LoadKind.TO_MANY:
        if load.prefetched:
            return Cause.BYPASSED_PREFETCH
        if load.operation not in ("all", "iterator") or load.filters != () or load.refinements:
            return Cause.RELATED_QUERY
    return _CAUSES[load.kind]


def _labels(load: Load | None, *, short: bool = False) -> list[str]:
    """Return the relation's names for people and for the allowlist."""
    if load is None:
        return []
    model = load.owner or load.model
    if model is None:
        return []
    name = load.step.accessor if load.step is not None else load.name
    # Of a many-to-many relation's table "Book.tags.through", and Django's name of it.
    labels = [
        f"{each}.{name}" if name else each
        for each in dict.fromkeys((model_name(model), model.__name__))
    ]
    if short:
        return labels[:1]
    return [*labels, *(f"{model._meta.app_label}.{label}" for label in labels)]


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
