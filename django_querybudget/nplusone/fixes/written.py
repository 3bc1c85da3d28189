"""What the source gives to the queries of a loop: :func:`written_by`, :func:`as_written`."""

from __future__ import annotations

import sys
from dataclasses import replace

from django_querybudget.evidence import Load
from django_querybudget.evidence.instances import attributes_of
from django_querybudget.nplusone.source.calls import Call, chains
from django_querybudget.nplusone.source.constants import Namespace
from django_querybudget.nplusone.source.names import evaluated_at, with_their_names
from django_querybudget.nplusone.source.values import Target, Written
from django_querybudget.stacks import Origin, RawOrigin
from django_querybudget.stacks.source_files import source_of

__all__ = ["as_written", "written_by"]


def written_by(
    load: Load, origin: RawOrigin | None, call: Call | None, filename: str, line: int | None
) -> Written:
    """Return what the expressions say that ``origin`` evaluates.

    The line of ``filename`` is the one to change; None where nothing but a constant can be written.
    """
    written = Written(load.model)
    place = None if origin is None else Origin.of(origin)
    if origin is None or origin.code is None or place is None or not origin.is_plain:
        _read_methods(written, load)
        return written
    around = Namespace.of(place.filename)
    source = source_of(place.filename)
    function = source.function_around(place.line)
    scope = function or source.tree
    if around is None or scope is None:
        return written
    found = evaluated_at(scope, place.line) if call is None else [call.node]
    found = with_their_names(scope, found, place.line)
    target = None
    if function is not None and line is not None and filename == place.filename:
        same = source.function_around(line) is function
        target = Target(function, line) if same else None
    written.read(found, replace(around, function=function), target)
    return written


def _read_methods(written: Written, load: Load) -> None:
    """Read the methods of a model that give a template its related rows."""
    if load.step is None or load.owner is None:
        return
    for owner in load.owner.__mro__:
        module = sys.modules.get(owner.__module__)
        filename = str(attributes_of(module).get("__file__"))
        around = None if owner.__module__.startswith("django.") else Namespace.of(filename)
        for node in () if around is None else around.source.functions:
            found = list(chains(node, load.step.accessor))
            if found and around is not None:
                written.read(found, replace(around, function=node), None)


def as_written(load: Load, written: Written) -> Load:
    """Return a load of related rows without the values that no line can be made of."""
    constant = written.has_constant_order()
    return replace(
        load,
        filters=written.spelled(load.filters),
        chain=load.chain if constant or not load.chain else None,
        aggregate=load.aggregate if constant else None,
    )
