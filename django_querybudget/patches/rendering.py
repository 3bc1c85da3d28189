"""A file's new text: :func:`patched`. Lines that get too long are broken where that is simple."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from django_querybudget.nplusone.layout import call_lines, laid_out

from .chains import chain_after
from .edits import Edit, combined
from .imports import import_edits
from .source_text import SourceText

__all__ = ["patched"]

_Piece = tuple[int, int, str]


def patched(source: SourceText, edits: Iterable[Edit], width: int) -> str:
    """Return the text of a file with ``edits``, no line of them wider than ``width`` if possible.

    Raises :class:`~.edits.Contradiction`, and ``SyntaxError`` where no Python would come of it.
    """
    found = combined(edits)
    wanted = [each for edit in found for each in edit.imports]
    pieces = [*_pieces(source, found, 0), *import_edits(source, wanted, width)]
    flat = _written(source, pieces)
    tree = ast.dump(ast.parse(flat))
    pieces = [*_pieces(source, found, width), *import_edits(source, wanted, width)]
    broken = _written(source, pieces)
    try:
        same = ast.dump(ast.parse(broken)) == tree
    except SyntaxError:
        same = False
    return broken if same else flat


def _written(source: SourceText, pieces: Iterable[_Piece]) -> str:
    """Return the text with pieces in it, written from its end on; equal places keep their order."""
    text, parts, last = source.text, [], 0
    for start, end, new in sorted(pieces, key=lambda piece: piece[:2]):
        parts += [text[last:start], new.replace("\n", source.newline)]
        last = end
    return "".join([*parts, text[last:]])


def _pieces(source: SourceText, edits: list[Edit], width: int) -> Iterator[_Piece]:
    """Yield what is written where; ``width`` 0 breaks no line."""
    for edit in edits:
        if edit.calls:
            yield from _chain(source, edit, width)
        elif not edit.imports:
            yield edit.start, edit.end, _expression(source, edit, width)


def _expression(source: SourceText, edit: Edit, width: int) -> str:
    """Return what an expression is replaced by; in parentheses of its own it can be broken."""
    text = source.text
    before = text[text.rfind("\n", 0, edit.start) + 1 : edit.start]
    after = text[edit.end :].split("\n", 1)[0].rstrip("\r")
    fits = len(before) + len(edit.new) + len(after) <= width or not width
    if fits or "\n" in edit.new or edit.new[:1] not in ("(", "["):
        return edit.new
    pad = before[: len(before) - len(before.lstrip(" \t"))]
    inner = pad + source.unit
    try:
        node = ast.parse(edit.new, mode="eval").body
    except SyntaxError:
        return edit.new
    if isinstance(node, ast.IfExp) and edit.new[0] == "(":
        parts = [_segment(edit.new, each) for each in (node.body, node.test, node.orelse)]
        return f"(\n{inner}{parts[0]}\n{inner}if {parts[1]}\n{inner}else {parts[2]}\n{pad})"
    lines = _own_units(source, laid_out(edit.new, max(width - len(pad) - len(after), 20)))
    return f"\n{pad}".join(lines)


def _own_units(source: SourceText, lines: list[str]) -> list[str]:
    """Return lines that are indented by four blanks as the file's own are: by tabs, say."""
    found = []
    for line in lines:
        rest = line.lstrip(" ")
        found.append(source.unit * ((len(line) - len(rest)) // 4) + rest)
    return found


def _segment(code: str, node: ast.expr) -> str:
    return ast.get_source_segment(code, node) or ast.unparse(node)


def _chain(source: SourceText, edit: Edit, width: int) -> Iterator[_Piece]:
    """Yield the methods that a chain gets, and the line breaks that it needs for them."""
    at, flat = edit.start, "".join(edit.calls)
    anchor = _ending_at(source, at)
    line = source.line(anchor.end_lineno or anchor.lineno) if anchor is not None else ""
    if not width or anchor is None or len(line) + len(flat) <= width:
        yield at, at, flat
        return
    following = chain_after(source, anchor)
    outer: ast.expr = following[-1] if following else anchor
    while isinstance(up := source.parents.get(outer), ast.Subscript) and up.value is outer:
        outer = up
    statement = _statement_of(source, anchor)
    indent = source.indent_at(anchor.lineno)
    begins = source.line_start(anchor.lineno) + len(indent) == source.start_of(anchor)
    if begins and source.start_of(statement) != source.start_of(anchor):
        yield from _on_lines(source, edit, anchor, following, indent, width)
    elif (
        isinstance(statement, ast.Assign | ast.AnnAssign | ast.Return)
        and statement.value is outer
        and statement.lineno == statement.end_lineno
    ):
        inner = indent + source.unit
        start, end = source.start_of(outer), source.end_of(outer)
        if pieces := _in_last_call(source, at, flat, outer, width):
            yield from pieces
            return
        yield start, start, f"(\n{inner}"
        yield from _on_lines(source, edit, anchor, following, inner, width)
        yield end, end, f"\n{indent})"
    elif pieces := _unfolded(source, edit, anchor, following, statement, width):
        yield from pieces
    else:
        # In the parentheses of a call a line can always be broken.
        room = width - len(line) + len(line.lstrip())
        wide = [_own_units(source, call_lines(call, room)) for call in edit.calls]
        yield at, at, "".join(f"\n{indent}".join(lines) for lines in wide)


def _in_last_call(
    source: SourceText, at: int, flat: str, outer: ast.expr, width: int
) -> list[_Piece]:
    """Break a chain in the parentheses of its last call, as black does where one method follows.

    Empty where that is not the way: several methods are one a line.
    """
    start, end = source.start_of(outer), source.end_of(outer)
    whole = SourceText((source.text[start:at] + flat + source.text[at:end]).encode())
    (statement,) = whole.tree.body
    node = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(node, ast.Call) or _methods_behind_calls(node) > 1:
        return []
    opening = whole.end_of(node.func)
    arguments = whole.text[opening + 1 : -1]
    indent = source.indent_at(outer.lineno)
    inner = indent + source.unit
    before = start - source.line_start(outer.lineno)
    if (
        whole.text[opening] != "("
        or not arguments.strip()
        or arguments.rstrip().endswith(",")
        or before + opening + 1 > width
        or len(inner) + len(arguments) > width
    ):
        return []
    opened, closed = f"\n{inner}", f"\n{indent}"
    if start + opening < at:  # the method that is added is not the last
        return []
    if opening - (at - start) < len(flat):
        place = opening - (at - start) + 1
        return [(at, at, f"{flat[:place]}{opened}{flat[place:-1]}{closed}{flat[-1]}")]
    place = start + opening - len(flat) + 1
    return [(at, at, flat), (place, place, opened), (end - 1, end - 1, closed)]


def _unfolded(
    source: SourceText,
    edit: Edit,
    anchor: ast.expr,
    following: list[ast.Call],
    statement: ast.stmt,
    width: int,
) -> list[_Piece]:
    """Break a chain before its methods that was broken in the parentheses of its last call.

    Empty where it was not, or where that is not what black does.
    """
    last = following[-1] if following else None
    if (
        last is None
        or not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Return)
        or statement.value is not last
    ):
        return []
    start, opening, end = source.start_of(last), source.end_of(last.func), source.end_of(last)
    inside = source.text[opening + 1 : end - 1]
    given: list[ast.expr | ast.keyword] = [*last.args, *last.keywords]
    given.sort(key=source.start_of)
    arguments = ", ".join(source.segment(each) for each in given)
    indent = source.indent_at(statement.lineno)
    inner = indent + source.unit
    behind = len(edit.calls) + len(following) - (not isinstance(anchor, ast.Call))
    name = last.func.attr if isinstance(last.func, ast.Attribute) else ""
    if (
        behind < 2
        or "\n" in source.text[start:opening]
        or "\n" in arguments
        or "#" in inside
        or inside.rstrip().endswith(",")
        or len(f"{inner}.{name}({arguments})") > width
    ):
        return []
    return [
        (start, start, f"(\n{inner}"),
        *_on_lines(source, edit, anchor, following, inner, width),
        (opening + 1, end - 1, arguments),
        (end, end, f"\n{indent})"),
    ]


def _methods_behind_calls(node: ast.expr) -> int:
    """Return how many attributes of a chain stand behind a call or a subscript."""
    found = 0
    while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
        inner = node.func if isinstance(node, ast.Call) else node.value
        if isinstance(node, ast.Attribute):
            found += isinstance(inner, ast.Call | ast.Subscript)
        node = inner
    return found


def _on_lines(
    source: SourceText,
    edit: Edit,
    anchor: ast.expr,
    following: list[ast.Call],
    indent: str,
    width: int,
) -> Iterator[_Piece]:
    """Yield a chain's new methods, one a line, and what else of it stands on that line likewise."""
    blocks = [
        f"\n{indent}".join(
            [call]
            if len(indent) + len(call) + (0 if number else _width_of(source, anchor)) <= width
            else _own_units(source, call_lines(call, width - len(indent)))
        )
        for number, call in enumerate(edit.calls)
    ]
    first = f"\n{indent}" if isinstance(anchor, ast.Call) else ""
    yield edit.start, edit.start, first + f"\n{indent}".join(blocks)
    for call in following:
        method = call.func
        if isinstance(method, ast.Attribute):
            before = source.end_of(method.value)
            if source.text[before : before + 1] == ".":
                yield before, before, f"\n{indent}"


def _width_of(source: SourceText, node: ast.expr) -> int:
    return len(source.segment(node))


def _ending_at(source: SourceText, position: int) -> ast.expr | None:
    """Return the innermost expression that ends there."""
    found = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute | ast.Call | ast.Name) and source.end_of(node) == position
    ]
    return max(found, key=source.start_of, default=None)


def _statement_of(source: SourceText, node: ast.AST) -> ast.stmt:
    while not isinstance(node, ast.stmt):
        node = source.parents[node]
    return node
