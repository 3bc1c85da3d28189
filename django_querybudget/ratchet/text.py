"""What the ratchet says: in a terminal, and as annotations of GitHub's workflows."""

from __future__ import annotations

from collections.abc import Iterator

from django_querybudget.messages.links import message_link, see
from django_querybudget.messages.plurals import counted, first_of

from .comparison import Change, Comparison
from .lines import Key, ShapeCount
from .loops import LoopCount

__all__ = [
    "change_lines",
    "few_rows",
    "github_annotations",
    "headline",
    "link",
    "loop_lines",
    "numbers",
    "render",
]

# How many names one line of text holds.
MOST_NAMES = 8
MOST_LISTS = 100  # list views of few rows: each is one to write a test for


def render(comparison: Comparison, path: str, *, mode: str, rewritten: bool, command: str) -> str:
    """Return the whole comparison as text; empty if there is nothing to say.

    ``path`` is the file as a person names it, ``mode`` what was asked for (``"check"``),
    ``rewritten`` whether the file was written, ``command`` what a person types, with ``{mode}`` in
    it.
    """
    return "\n".join(_lines(comparison, path, mode, rewritten, command))


def headline(change: Change) -> str:
    """Return ``"GET jobs:list 2xx: 3 → 23 queries, 0 → 20 that repeat a shape"``."""
    return f"{change.key.name}: {numbers(change)}"


def numbers(change: Change) -> str:
    """Return the numbers that differ: ``"3 → 23 queries, 20 → 400 rows"``."""
    words = {
        "queries": ("query", "queries"),
        "duplicates": ("duplicate query", "duplicate queries"),
        "similar": ("query that repeats a shape", "queries that repeat a shape"),
        "rows": ("row", "rows"),
    }
    pairs = {name: (getattr(change.old, name), getattr(change.new, name)) for name in words}
    told = ", ".join(
        f"{old} → {counted(new, *words[name])}"
        for name, (old, new) in pairs.items()
        if old != new and old is not None and new is not None
    )
    return told or "as many queries as before"


def change_lines(change: Change) -> Iterator[str]:
    """Yield what differs of one line: the numbers, the shapes, the loops with the line to write."""
    yield headline(change)
    for shape, before in change.came_in:
        yield from _shape(shape, f"{before} → {shape.count} x")
    for shape, now in change.went:
        yield from _shape(shape, f"{shape.count} → {now} x")
    for loop, were in change.loops_came:
        yield f"  N+1: {'' if were is None else f'{were} → '}{loop.queries} queries {loop.what}"
        yield from (f"        {line}" for line in loop_lines(loop))
    for loop, now in change.loops_went:
        yield f"  N+1: {loop.queries} → {now} queries {loop.what}"
        yield f"        at {loop.at}"


def loop_lines(loop: LoopCount) -> Iterator[str]:
    """Yield where a loop is, and what to write."""
    if loop.at:
        yield f"at {loop.at}"
    if loop.read:
        yield f"read there: {loop.read}"
    if loop.write:
        yield f"write{f' at {loop.write_at}' if loop.write_at else ''}: {loop.write}"


def github_annotations(comparison: Comparison) -> Iterator[str]:
    """Yield a workflow command for each failure: it is shown at the line of the worst shape."""
    for change in comparison.above:
        properties = {"title": headline(change)}
        message = headline(change)
        if came_in := change.came_in:
            shape, before = came_in[0]
            message = f"{before} → {shape.count} times {shape.sql}"
            if shape.place is not None:
                properties |= {"file": shape.place.path, "line": str(shape.place.line)}
        message = f"{message}\n{link()}"
        written = ",".join(f"{name}={_escaped(text, ':,')}" for name, text in properties.items())
        yield f"::error {written}::{_escaped(message)}"


def _lines(
    comparison: Comparison, path: str, mode: str, rewritten: bool, command: str
) -> Iterator[str]:
    above, better = comparison.above, comparison.better
    record, tighten = (command.replace("{mode}", name) for name in ("record", "tighten"))
    raised = mode == "record" and rewritten
    if above and not raised:
        yield f"{_names(len(above), 'is', 'are')} above the line in {path}:"
    for change in above:
        yield ""
        yield from change_lines(change)
    if above and mode != "record":
        yield ""
        yield f"Next: repair them; or, if every query is needed, {record} and commit {path}."
    if better:
        yield f"{_names(len(better), 'got', 'got')} better:"
        yield from (f"  {headline(change)}" for change in better)
    if comparison.unrecorded:
        yield _listed(
            "without a line before" if raised else "without a line", comparison.unrecorded
        )
    if comparison.left_over:
        yield _listed("left over, pruned" if rewritten else "left over", comparison.left_over)
    if comparison.rows_unknown:
        what = "without rows" if mode == "record" else "not judged by rows"
        yield _listed(f"{what}, which this database does not tell", comparison.rows_unknown)
    if comparison.left_out:
        yield from _left_out(comparison)
    to_lower = (better or comparison.left_over) and not rewritten
    to_add = comparison.unrecorded and mode != "record"
    next_steps = [
        *([f"To lower and prune lines: {tighten}."] if to_lower and mode == "check" else []),
        *([f"To add lines: {record}."] if to_add else []),
    ]
    if next_steps:
        yield " ".join(next_steps)
    if above and mode != "record":
        yield link()


def _left_out(comparison: Comparison) -> Iterator[str]:
    """Say what is not judged, since the tests that measured it failed."""
    alone = [key for key in comparison.left_out if key not in comparison.measured]
    shared = len(comparison.left_out) - len(alone)
    tests = sorted({test for tests in comparison.left_out.values() for test in tests})
    if alone:
        yield _listed("left out, only failing tests reached it", sorted(alone))
    if shared:
        yield (
            f"{counted(shared, 'line', 'lines')} without what failing tests measured; "
            f"{'it is' if shared == 1 else 'they are'} not lowered."
        )
    yield f"Failing: {_first_of(tests, MOST_NAMES)}"


def link() -> str:
    """Return the last line of a failure."""
    return see(message_link("above-its-line"))


def few_rows(views: list[Key], threshold: int) -> str:
    """Say which list views no test gave rows enough for a loop to show."""
    names = _first_of([key.name for key in views], MOST_LISTS)
    lists = counted(len(views), "list view was", "list views were")
    return (
        f"{lists} only ever tested with fewer than {threshold} rows, which shows no loop: {names}"
    )


def _shape(shape: ShapeCount, counts: str) -> Iterator[str]:
    yield f"  {counts}  {shape.sql}"
    if shape.place is not None:
        yield f"        {shape.place.text}"


def _names(count: int, singular: str, plural: str) -> str:
    return (
        f"{counted(count, 'view or test', 'views and tests')} {singular if count == 1 else plural}"
    )


def _listed(what: str, keys: list[Key]) -> str:
    return f"{len(keys)} {what}: {_first_of([key.name for key in keys], MOST_NAMES)}"


def _first_of(names: list[str], most: int) -> str:
    return first_of(names, most, between="; ", last="; and ")


def _escaped(text: str, more: str = "") -> str:
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
