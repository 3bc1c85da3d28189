"""What ``querybudget fix`` tells: :func:`as_text` for a person, :func:`as_data` for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .diffs import unified
from .proving import Proof

__all__ = ["FORMAT", "as_data", "as_text", "diff_of"]

FORMAT = 1
"""The version of :func:`as_data`'s form."""
_MOST_REASONS = 3


def diff_of(proof: Proof) -> bytes:
    """Return all that is proved as one unified diff."""

    def proofs(path: str, lines: range) -> str:
        found = [each for each in proof.proved if path in each.patch.paths]
        there = [each for each in found if set(lines) & proof.draft.lines_of(each.patch, path)]
        # A hunk of none is one of imports.
        there = there or [each for each in found if any(e.imports for e in each.patch.edits)]
        return "; ".join(dict.fromkeys(each.proof for each in there or found))

    return unified(proof.before, proof.files(), proofs)


def as_text(proof: Proof) -> str:
    """Return the report: what is proved, what was withdrawn and why, what a person has to write."""
    return "\n".join(_lines(proof))


def _lines(proof: Proof) -> Iterator[str]:
    by_outcome = {
        outcome: [each for each in proof.judged.values() if each.outcome == outcome]
        for outcome in ("proved", "withdrawn", "not tried")
    }
    for each in by_outcome["proved"]:
        yield f"Proved: {', '.join(each.patch.paths)}"
        yield from (f"  {found.text}" for found in each.patch.found)
        yield f"  {each.proof}"
    for each in by_outcome["withdrawn"]:
        yield f"Withdrawn: {', '.join(each.patch.paths)}"
        yield from (f"  {found.text}" for found in each.patch.found)
        yield from (f"  because {reason}" for reason in each.reasons[:_MOST_REASONS])
        if len(each.reasons) > _MOST_REASONS:
            yield f"  and {len(each.reasons) - _MOST_REASONS} more reasons"
    for each in by_outcome["not tried"]:
        yield f"Not tried, the time was over: {', '.join(each.patch.paths)}"
    for left in proof.left:
        yield f"Not written: {left.found.text}"
        yield f"  because {left.reason}"
        if left.code:
            yield from (f"    {line}" for line in left.code.split("\n"))
    yield from proof.notes
    if proof.is_over_time:
        yield (
            "The time limit came first: what is proved so far stands, by the tests named with it."
            if proof.judged
            else "The time limit came before the first run of the tests ended: nothing is known."
        )
    elif not proof.judged and not proof.left:
        yield "No test shows a loop of queries, or a relation that is loaded and not read."


def as_data(proof: Proof) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "format": FORMAT,
        "patches": [each.to_json() for each in proof.judged.values()],
        "not_written": [
            {
                "cause": left.found.cause,
                "relation": left.found.relation,
                "origin": left.found.origin,
                "reason": left.reason,
                "code": left.code,
            }
            for left in proof.left
        ],
        "diff": diff_of(proof).decode("utf-8", "surrogateescape"),
        "notes": proof.notes,
        "runs": proof.runs,
        "over_time": proof.is_over_time,
    }
