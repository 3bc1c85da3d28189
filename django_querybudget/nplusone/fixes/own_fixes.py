"""Fixes of loops that no relation leads to: :func:`own_fix`. They stand where the loop does."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from django_querybudget.evidence import Load, LoadKind
from django_querybudget.evidence.relations import quoted
from django_querybudget.nplusone.detection import Loop
from django_querybudget.nplusone.findings import Fix
from django_querybudget.nplusone.source.calls import Call, find_call
from django_querybudget.nplusone.source.coroutines import awaited, is_in_coroutine
from django_querybudget.nplusone.source.loops import (
    does_only,
    is_read_after,
    line_of_loop,
    loop_around,
    stands_elsewhere,
)
from django_querybudget.nplusone.source.visible import is_bound_from
from django_querybudget.stacks import Origin, RawOrigin
from django_querybudget.stacks.source_files import source_of

from .imports import with_imports
from .lookup import grouped_fix, lookup_fix
from .needs import Part
from .places import manager_behind
from .write import write_fix
from .written import written_by

__all__ = ["own_fix"]

_KINDS = (LoadKind.LOOKUP, LoadKind.WRITE, LoadKind.PREFETCH)


def _is_needed(load: Load, call: Call | None) -> bool:
    """Whether the loop goes on with a row that it made: it must be there by then."""
    if load.operation not in ("create", "get_or_create"):
        return False
    if call is None or not call.is_statement:
        return load.operation == "create"
    names = {node.id for node in ast.walk(call.receiver) if isinstance(node, ast.Name)}
    return is_read_after(load.scopes, names)


def own_fix(loops: Sequence[Loop]) -> tuple[Part, Fix] | None:
    """Return the fix of a loop that no relation leads to: it stands where the loop does."""
    loop = loops[0]
    load = loop.load
    if load is None or load.kind not in _KINDS or not load.is_direct:
        return None
    origin = loop.records[-1].origin
    call = find_call(origin, load.operation)
    around = loop_around(load.scopes)
    where = around or origin
    waits = where is not None and is_in_coroutine(where)
    if load.model is not None and load.manager is None and loop.origin is not None:
        receiver = None if call is None else call.receiver
        load = replace(load, manager=manager_behind(receiver, loop.origin, load.model))
    line = line_of_loop(load.scopes)
    filename = "" if loop.origin is None else loop.origin.filename
    written = written_by(load, origin, call, filename, line)

    def known(expression: ast.expr) -> bool:
        return line is not None and not is_bound_from(expression, line, _scope(filename, line))

    if load.fields and not written.has_constant_names():
        return None
    code: str | None
    left, use, replaces = 1, None, None
    whole = load.kind is not LoadKind.WRITE or does_only(load.scopes)
    if load.kind is LoadKind.WRITE:
        if not whole and (_is_needed(load, call) or stands_elsewhere(load.scopes)):
            return None
        code, left = write_fix(loops, load, call, written) or (None, 1)
    elif load.kind is LoadKind.PREFETCH:
        code, left = None if around is None else _prefetch_once(load), len(loops)
    else:
        code = lookup_fix(load, loop.records, written)
        if load.operation == "count" and (code is None or len(load.filters or ()) != 1):
            here = None if stands_elsewhere(load.scopes) else call
            grouped = None if here is None else grouped_fix(load, here, known, waits=waits)
            if here is not None and grouped is not None:
                code, use = grouped
                replaces = here.text
    saves = sum(len(each.records) for each in loops) - left
    if code is None or saves <= 0:
        return None
    place = None if where is None else Origin.of(where)
    fix = Fix(
        code=awaited(code) if waits else code,
        place=place or loop.origin,
        built=True,
        saves=saves,
        in_loop=around is not None,
        alone=around is not None and not whole,
        note=_handed_over(load, origin, around) if use is None else "",
    )
    return Part(saves=saves, use=use, replaces=replaces), with_imports(fix) or fix


def _scope(filename: str, line: int) -> ast.AST:
    """Return what the names of a line belong to: its function, or the module."""
    source = source_of(filename)
    return source.function_around(line) or source.tree or ast.Module([], [])


def _prefetch_once(load: Load) -> str | None:
    """Return the one call that prefetches for all rows: those after it find their work done."""
    if load.owner is None or not load.fields:
        return None
    rows = f"{load.owner._meta.model_name}_list"
    return f"prefetch_related_objects({rows}, {', '.join(map(quoted, load.fields))})"


def _handed_over(load: Load, origin: RawOrigin | None, around: RawOrigin | None) -> str:
    """Return how a helper comes by what was asked for before the loop that calls it."""
    if load.kind is not LoadKind.LOOKUP or origin is None or around is None:
        return ""
    if origin.code is around.code or origin.code is None:
        return ""
    return f"and hand it to {origin.code.co_qualname}() as an argument, or by an attribute"
