"""A difference for a pull request, in the Markdown of GitHub: :func:`markdown`.

What comes from the project (names, shapes, code) stands in code spans, cut, on one line: there
nothing of it is a link, a mention, HTML or the end of a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from .difference import Difference, Entry, State
from .loops import LoopCount
from .text import numbers

__all__ = ["MOST_CHARACTERS", "markdown", "marker"]

MOST_CHARACTERS = 60_000
"""Of the whole text: GitHub takes comments of 65,536."""
MOST_OF_TABLE = 20_000
"""Characters of the table."""
MOST_OF_A_LINE = 10
"""So many shapes, and so many loops, are told of one line."""
WIDTH = 200
"""So much of a name or a shape is shown."""
CODE_WIDTH = 1_000
"""So much of a line to write: what is cut cannot be written."""

_CLOSING = 200  # characters that are kept for the line that says what is left out


def marker(file: str) -> str:
    """Return the hidden first line, by which the comment about ``file`` is found again."""
    return f"<!-- django-querybudget: {quote(file[-WIDTH:], safe='/.')} -->"


def markdown(difference: Difference, file: str) -> str:
    """Return the whole of ``difference``, of :data:`MOST_CHARACTERS` at most.

    ``file`` is the ratchet's file as a person names it. What does not fit is counted.
    """
    text = "\n".join(_head(difference, file))
    left = MOST_CHARACTERS - len(text) - _CLOSING
    left_out = 0
    for entry in _ranked(difference.entries):
        block = "\n".join(_block(entry))
        if block and len(block) + 2 > left:
            left_out += 1
        elif block:
            left -= len(block) + 2
            text += f"\n\n{block}"
    if left_out:
        text += f"\n\n… and {left_out} more views and tests: `querybudget compare --json` has all."
    return f"{text}\n"


def _head(difference: Difference, file: str) -> Iterator[str]:
    yield marker(file)
    yield "### Queries by view"
    yield ""
    old, new = (code(each.name) for each in (difference.old, difference.new))
    yield f"{old} → {new}: **{difference.summary}**"
    for note in difference.notes:
        yield ""
        yield note
    entries = _ranked(difference.entries)
    if not entries:
        return
    with_rows = any(each.change.old.rows is not None for each in entries) or any(
        each.change.new.rows is not None for each in entries
    )
    yield ""
    yield f"| | View or test | Queries | {'Rows | ' if with_rows else ''}N+1 |"
    yield f"|---|---|---|{'---|' if with_rows else ''}---|"
    left, shown = MOST_OF_TABLE, 0
    for entry in entries:
        row = _row(entry, with_rows=with_rows)
        left -= len(row)
        if left < 0:
            break
        yield row
        shown += 1
    if shown < len(entries):
        yield ""
        yield f"… and {len(entries) - shown} more."


def _ranked(entries: Iterable[Entry]) -> list[Entry]:
    """Return them by what they cost more, within each state."""
    states = list(State)

    def rank(entry: Entry) -> tuple[int, int]:
        change = entry.change
        return states.index(entry.state), change.old.queries - change.new.queries

    return sorted(entries, key=rank)


def _row(entry: Entry, *, with_rows: bool) -> str:
    old, new = entry.change.old, entry.change.new
    loops = [None if side.loops is None else len(side.loops) for side in (old, new)]
    cells = [
        entry.state.value,
        code(entry.change.key.name, in_table=True),
        _cell(entry, old.queries, new.queries),
        *([_cell(entry, old.rows, new.rows)] if with_rows else []),
        _cell(entry, *loops),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(entry: Entry, old: int | None, new: int | None) -> str:
    before, now = ("?" if side is None else str(side) for side in (old, new))
    if entry.state is State.NEW:
        return now
    if entry.state is State.GONE:
        return before
    return now if before == now else f"{before} → {now}"


def _block(entry: Entry) -> list[str]:
    """Return the lines about one entry; none if the table says it all."""
    change, lines = entry.change, list[str]()
    if entry.state is State.GONE:
        return []
    if entry.state is not State.NEW:
        shapes = [
            *((shape.sql, before, shape.count) for shape, before in change.came_in),
            *((shape.sql, shape.count, now) for shape, now in change.went),
        ]
        for sql, before, now in shapes[:MOST_OF_A_LINE]:
            lines.append(f"- {before} → {now} x {code(sql)}")
        lines += _more(len(shapes), "shapes")
    for loop, were, now in entry.loops[:MOST_OF_A_LINE]:
        lines += _loop_lines(loop, were, now, is_new=entry.state is State.NEW)
    lines += _more(len(entry.loops), "loops")
    if not lines:
        return []
    told = entry.state.value if entry.state is State.NEW else numbers(change)
    return [f"**{code(change.key.name)}** {told}", "", *lines]


def _loop_lines(loop: LoopCount, were: int | None, now: int, *, is_new: bool) -> Iterator[str]:
    counts = f"{now}" if is_new or were is None else f"{were} → {now}"
    at = f" at {code(loop.at)}" if loop.at else ""
    yield f"- N+1: {counts} queries {code(loop.what)}{at}"
    if now and loop.read:
        yield f"  - read there: {code(loop.read, CODE_WIDTH)}"
    if now and loop.write:
        place = f" at {code(loop.write_at)}" if loop.write_at else ""
        yield f"  - write{place}: {code(loop.write, CODE_WIDTH)}"


def _more(count: int, what: str) -> list[str]:
    return [f"- … and {count - MOST_OF_A_LINE} more {what}"] if count > MOST_OF_A_LINE else []


def code(text: str, width: int = WIDTH, *, in_table: bool = False) -> str:
    """Return ``text`` as a code span: one line, ``width`` characters of it at most.

    GitHub's Markdown takes a code span to end at as many backticks as it began with, and a cell of
    a table at each ``|`` that has no backslash, in code spans, too.
    """
    plain = "".join(each if each.isprintable() else " " for each in text[: width + 1])
    if len(plain) > width:
        plain = f"{plain[: width - 2]} …"
    if in_table:
        plain = plain.replace("|", "\\|")
    if not plain.strip():
        return "(nothing)"
    fence = "`" * (max(map(len, re.findall("`+", plain)), default=0) + 1)
    pad = " " if plain[0] in "` " or plain[-1] in "` " else ""
    return f"{fence}{pad}{plain}{pad}{fence}"
