"""What ``querybudget fix`` tells: :func:`as_text` for a person, :func:`as_data` for a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django_querybudget.ratchet.last_fix import Attempt, digest_of

from .diffs import unified
from .judged import Judged
from .patch import Found
from .proving import Proof

__all__ = ["VERSION", "as_data", "as_text", "attempts_of", "diff_of"]

VERSION = 1
"""The version of :func:`as_data`'s form."""
_MOST_REASONS = 3


def diff_of(proof: Proof) -> bytes:
    """Return all that is proved as one unified diff."""

    def proofs(path: str, lines: range) -> str:
        found = [each for each in proof.proved if path in each.patch.paths]
        there = [
            each for each in found if set(lines) & proof.patched_files.lines_of(each.patch, path)
        ]
        # A hunk of none is one of imports.
        there = there or [each for each in found if any(e.imports for e in each.patch.edits)]
        return "; ".join(dict.fromkeys(each.proof for each in there or found))

    return unified(proof.before, proof.files(), proofs)


def attempts_of(proof: Proof) -> dict[str, Attempt]:
    """Return what came of each finding, by its key: what ``explain`` is left.

    One may be in several patches, of several requests: what is proved stands before what is not.
    """
    found: dict[str, Attempt] = {}
    for left in proof.left:
        attempt = Attempt(
            outcome="not written", reason=left.reason, files=_digests(proof, [left.found])
        )
        found.setdefault(left.found.key, attempt)
    for each in sorted(proof.judged.values(), key=lambda judged: judged.outcome == "proved"):
        is_proved = each.outcome == "proved"
        attempt = Attempt(
            outcome=each.outcome,
            reason="; ".join(each.reasons[:_MOST_REASONS]) or ("" if is_proved else each.proof),
            patch=_alone(proof, each) if is_proved else "",
            proof=each.proof,
            files=_digests(proof, each.patch.found, each.patch.paths),
        )
        found |= {one.key: attempt for one in each.patch.found}
    found.pop("", None)
    return found


def _alone(proof: Proof, judged: Judged) -> str:
    diff = unified(proof.before, proof.files([judged]), lambda *_: judged.proof)
    try:
        return diff.decode()
    except UnicodeDecodeError:  # A file in another encoding: no JSON can hold its bytes.
        return ""


def _digests(proof: Proof, found: Iterable[Found], paths: Iterable[str] = ()) -> dict[str, str]:
    files = {*paths, *(each.file for each in found if each.file)}
    return {path: digest_of(proof.before(path)) for path in sorted(files)}


def as_text(proof: Proof) -> str:
    """Return the report: what is proved, what was withdrawn and why, what a person has to write."""
    return "\n".join(_lines(proof))


def _lines(proof: Proof) -> Iterator[str]:
    by_outcome = {
        outcome: [each for each in proof.judged.values() if each.outcome == outcome]
        for outcome in ("proved", "uncompared", "withdrawn", "not tried")
    }
    for each in by_outcome["proved"]:
        yield f"Proved: {', '.join(each.patch.paths)}"
        yield from (f"  {text}" for text in each.patch.texts)
        yield f"  {each.proof}"
    for each in by_outcome["uncompared"]:
        yield f"Saves, tests pass, no answer compared: {', '.join(each.patch.paths)}"
        yield from (f"  {text}" for text in each.patch.texts)
        yield f"  {each.proof}"
    if by_outcome["uncompared"] and not proof.keeps_uncompared:
        yield "  Not in the diff. Read the lines, and have them there by --uncompared."
    for each in by_outcome["withdrawn"]:
        yield f"Withdrawn: {', '.join(each.patch.paths)}"
        yield from (f"  {text}" for text in each.patch.texts)
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
    if proof.is_over_time and proof.baseline_is_known:
        yield "The time limit came first: what is proved so far stands, by the tests named with it."
    elif proof.is_over_time:
        yield "The time limit came before the tests had run once: nothing is known of their loops."
    elif not proof.judged and not proof.left:
        yield "No test shows a loop of queries, or a relation that is loaded and not read."


def as_data(proof: Proof) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "version": VERSION,
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
