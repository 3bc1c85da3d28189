"""The imports that a file gets: into the statement that is there, or as one of their own."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from .source_text import SourceText

__all__ = ["import_edits"]


def import_edits(
    source: SourceText, statements: Iterable[str], width: int
) -> Iterator[tuple[int, int, str]]:
    """Yield the edits (start, end, text) that give a module ``from … import …`` statements."""
    wanted: dict[str, set[str]] = {}
    for text in statements:
        (node,) = ast.parse(text).body
        if isinstance(node, ast.ImportFrom):
            wanted.setdefault(str(node.module), set()).update(each.name for each in node.names)
    new: dict[str, str] = {}
    for module, names in sorted(wanted.items()):
        there = _statement(source, module)
        if there is None:
            new[module] = _import(module, sorted(names, key=_key), width)
            continue
        missing = names - {each.name for each in there.names if each.asname is None}
        if missing:
            yield _extended(source, there, missing, width)
    yield from _placed(source, new)


def _statement(source: SourceText, module: str) -> ast.ImportFrom | None:
    for node in source.tree.body:
        if (
            isinstance(node, ast.ImportFrom)
            and (node.level, node.module) == (0, module)
            and all(each.name != "*" for each in node.names)
        ):
            return node
    return None


def _key(name: str) -> tuple[bool, bool, str]:
    """Order as isort does: constants, classes, functions."""
    return not (name.isupper() and len(name) > 1), not name[:1].isupper(), name


def _import(module: str, names: list[str], width: int) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= (width or 10**6):
        return line
    return f"from {module} import (\n{''.join(f'    {name},{chr(10)}' for name in names)})"


def _extended(
    source: SourceText, node: ast.ImportFrom, missing: set[str], width: int
) -> tuple[int, int, str]:
    start, end = source.start_of(node), source.end_of(node)
    if "#" in source.segment(node) or "\\" in source.segment(node):  # A person's comment stays.
        last = source.position(node.names[-1].end_lineno or 0, node.names[-1].end_col_offset or 0)
        return last, last, "".join(f", {name}" for name in sorted(missing, key=_key))
    written = [f"{each.name} as {each.asname}" if each.asname else each.name for each in node.names]
    names = sorted([*written, *missing], key=_key)
    if "(" in source.segment(node) and "\n" in source.segment(node):
        lines = "".join(f"{source.unit}{name},\n" for name in names)
        return start, end, f"from {node.module} import (\n{lines})"
    return start, end, _import(str(node.module), names, width)


def _placed(source: SourceText, new: dict[str, str]) -> Iterator[tuple[int, int, str]]:
    """Yield where statements of their own go: into their block of the imports, in its order."""
    blocks = _blocks(source)
    if not blocks:
        text = "".join(f"{line}\n" for line in new.values())
        if new:
            yield _at_top(source, text)
        return
    for module, text in new.items():
        top = module.partition(".")[0]
        alike = [block for block in blocks if top in map(_top, block)]
        block = (alike or blocks)[-1]
        after = next((each for each in block if _module(each) > module), None)
        if after is not None and isinstance(after, ast.ImportFrom):
            at = source.line_start(after.lineno)
            yield at, at, f"{text}\n"
            continue
        last = block[-1]
        at = source.line_start((last.end_lineno or last.lineno) + 1)
        ended = source.text[:at].endswith(("\n", "\r"))
        yield at, at, f"{text}\n" if ended else f"\n{text}\n"


def _blocks(source: SourceText) -> list[list[ast.stmt]]:
    """Return the import statements at the module's top, in blocks without a blank line."""
    blocks: list[list[ast.stmt]] = []
    before = 0
    for number, node in enumerate(source.tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if blocks and node.lineno == before + 1:
                blocks[-1].append(node)
            else:
                blocks.append([node])
            before = node.end_lineno or node.lineno
        elif number or not _is_docstring(node):
            break
    if blocks and all(_module(each) == "__future__" for each in blocks[-1]):
        return []
    return blocks


def _module(node: ast.stmt) -> str:
    if isinstance(node, ast.ImportFrom):
        return f"{chr(0x10FFFF) * node.level}{node.module or ''}"
    return node.names[0].name if isinstance(node, ast.Import) else ""


def _top(node: ast.stmt) -> str:
    return _module(node).partition(".")[0]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _at_top(source: SourceText, text: str) -> tuple[int, int, str]:
    """Return where the first imports go: after the docstring and ``__future__``."""
    last: ast.stmt | None = None
    for node in source.tree.body:
        if not _is_docstring(node) and _module(node) != "__future__":
            break
        last = node
    if last is None:
        body = source.tree.body
        at = source.line_start(body[0].lineno) if body else 0
        return at, at, f"{text}\n"
    at = source.line_start((last.end_lineno or last.lineno) + 1)
    return at, at, f"\n{text}"
