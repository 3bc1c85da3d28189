"""Which of several queries a ``for`` iterates whose row is at hand: :func:`iterated`.

``for order in Order.objects.all():`` keeps the rows and lets the queryset go: two such loops of one
function, over one model, leave two queries that a row could be of. The code tells which loop stands
around the line that reads, and what it calls the row.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from django_querybudget.stacks import is_project

from .loads import Provenance

__all__ = ["iterated"]


def iterated(
    candidates: Iterable[Provenance], instance: object, frames: Iterable[FrameType]
) -> Provenance | None:
    """Return the one query whose rows a loop binds to a name of ``instance``; None if not one."""
    candidates = list(candidates)
    for frame in frames:
        names = set()
        if is_project(frame.f_code):
            names = {name for name, value in frame.f_locals.items() if value is instance}
        if names:
            code, here = frame.f_code, frame.f_lasti
            loops = [
                each
                for each in candidates
                if each.origin.code is code
                and any(
                    first < here < end and bound & names
                    for first, end, bound in _loops_over(code, each.origin.instruction)
                )
            ]
            return loops[0] if len(loops) == 1 else None
    return None


@lru_cache(maxsize=256)
def _loops_over(code: CodeType, evaluated: int) -> list[tuple[int, int, frozenset[str]]]:
    """Return the ``for`` that iterates what is evaluated at an offset: none, or one.

    That is where its body begins and ends, and the names that it binds.
    """
    after = iter([each for each in dis.get_instructions(code) if each.offset >= evaluated])
    for each in after:
        if each.opname.startswith("STORE"):
            return []  # A variable, which may be iterated anywhere.
        if each.opname == "FOR_ITER":
            return [(each.offset, each.argval, frozenset(_bound(after)))]
    return []


def _bound(instructions: Iterator[dis.Instruction]) -> Iterator[str]:
    """Yield the names that the first instructions of a loop's body bind."""
    for each in instructions:
        if each.opname.startswith("STORE"):
            given: Any = each.argval
            yield from given if isinstance(given, tuple) else (given,)
        elif not each.opname.startswith(("UNPACK", "CACHE")):
            return
