"""A suggested queryset as edits of the chain of methods that stands in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from django_querybudget.nplusone.source.modules import imported_in, module_of, resolve

from .edits import Edit, method_call
from .source_text import SourceText
from .unwritable import Unwritable

__all__ = ["chain_after", "queryset_edits"]

_ADDED = ("select_related", "prefetch_related", "annotate", "only", "defer")
_ENDS = {"count", "exists", "aggregate", "create", "get_or_create", "bulk_create"}
_CHUNKS = re.compile(r"\.iterator\((chunk_size=\d+)\)")


def queryset_edits(
    source: SourceText,
    path: str,
    code: str,
    lines: tuple[int, int],
    *,
    filename: str,
    replaces: tuple[str, ...] = (),
    handed_on: bool = False,
) -> list[Edit]:
    """Return the edits that write ``code`` where its start stands in ``lines``.

    What it adds stands behind that start, before the rest of the chain. ``replaces`` are lookups to
    be taken out of the ``prefetch_related()`` that is there. ``handed_on`` is whether the queryset
    may be the loop's own expression, whoever has built it. Raises :class:`Unwritable`.
    """
    start, calls = _split(code)
    found = _find(source, start, lines, filename)
    if found is None and handed_on:
        found = _iterated(source, lines[0])
    if found is None:
        raise Unwritable(
            f"{ast.unparse(start)} does not stand at {path}:{lines[0]}: it is built elsewhere, or "
            "by generated code"
        )
    following = chain_after(source, found)
    edits: list[Edit] = []
    if "defer" in [
        method.attr for call in following if isinstance(method := call.func, ast.Attribute)
    ]:
        # What is deferred no more is taken out of the defer() that stands there.
        again = [call for call in calls if call.startswith(".defer(")]
        calls = [call for call in calls if call not in again[:-1]]
    for call in list(calls):
        replaced = _replaced(source, path, call, following)
        if replaced is not None:
            calls.remove(call)
            edits += replaced
    if replaces:
        edits += _without(source, path, replaces, following)
    if chunks := _CHUNKS.search(code):
        in_chunks = list(_in_chunks(source, path, chunks[1], found))
        if not in_chunks:
            raise Unwritable(f"its iterator() is to have a {chunks[1]}, and stands elsewhere")
        edits += in_chunks
    if calls:
        end = source.end_of(found)
        edits.append(Edit(path, end, end, calls=tuple(calls)))
    return edits


def _split(code: str) -> tuple[ast.expr, list[str]]:
    """Return the expression that a suggested queryset starts from, and the calls after it."""
    try:
        node = ast.parse(code, mode="eval").body
    except SyntaxError as error:
        raise Unwritable("which manager its queryset starts from is not known") from error
    data = code.encode()
    calls: list[str] = []
    while (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _ADDED
    ):
        calls.insert(0, data[node.func.value.end_col_offset : node.end_col_offset].decode())
        node = node.func.value
    return node, calls


def _find(
    source: SourceText, start: ast.expr, lines: tuple[int, int], filename: str
) -> ast.expr | None:
    """Return the expression in the source that ``start`` is: the first that is not counted, say."""
    found = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute | ast.Call | ast.Name)
        and lines[0] <= node.lineno <= lines[1]
        and _is_same(source, node, start, filename)
    ]
    found.sort(key=lambda node: (_is_ended(source, node), node.lineno, node.col_offset))
    return found[0] if found else None


def _is_same(source: SourceText, node: ast.expr, start: ast.expr, filename: str) -> bool:
    if isinstance(getattr(node, "ctx", None), ast.Store):
        return False
    match start:
        case ast.Call(func=wanted, args=[ast.Constant(value=value)]) if value is ...:
            return isinstance(node, ast.Call) and _is_same(source, node.func, wanted, filename)
    text = ast.unparse(start)
    if ast.unparse(node) == text or ast.unparse(node).endswith(f".{text}"):
        return type(node) is type(start) or text.endswith(")")
    match node, start:  # ``User.objects``, of a class that has another name.
        case ast.Attribute(value=owner, attr=name), ast.Attribute(value=model, attr=same):
            module = module_of(filename)
            if name != same or module is None or not isinstance(model, ast.Name):
                return False
            scope = source.scope_of(node)
            local = {} if scope is None else imported_in(scope, module)
            return getattr(resolve(owner, module, local), "__name__", "") == model.id
    return False


def _is_ended(source: SourceText, node: ast.expr) -> bool:
    names = [each.func.attr for each in chain_after(source, node)]  # type: ignore[attr-defined]  # a chain is of methods' calls
    return bool(names) and names[-1].removeprefix("a") in _ENDS


def chain_after(source: SourceText, node: ast.expr) -> list[ast.Call]:
    """Return the calls of methods that follow an expression, in their order."""
    found: list[ast.Call] = []
    current: ast.AST = node
    while isinstance(method := source.parents.get(current), ast.Attribute):
        call = source.parents.get(method)
        if not isinstance(call, ast.Call) or call.func is not method:
            break
        found.append(call)
        current = call
    return found


def _iterated(source: SourceText, line: int) -> ast.expr | None:
    """Return what the loop at ``line`` iterates, unless its function was handed it."""
    for node in ast.walk(source.tree):
        match node:
            case ast.For(iter=each) | ast.AsyncFor(iter=each) | ast.comprehension(iter=each):
                if each.lineno == line and isinstance(each, ast.Name | ast.Call | ast.Attribute):
                    return None if _is_argument(source, each) else each
    return None


def _is_argument(source: SourceText, node: ast.expr) -> bool:
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    around: ast.AST | None = node
    while around is not None:
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            given = {each.arg for each in ast.walk(around.args) if isinstance(each, ast.arg)}
            return bool(given & names)
        around = source.parents.get(around)
    return False


def _named(following: list[ast.Call], name: str) -> Iterator[tuple[ast.Call, ast.Attribute]]:
    for call in following:
        if isinstance(call.func, ast.Attribute) and call.func.attr == name:
            yield call, call.func


def _replaced(
    source: SourceText, path: str, call: str, following: list[ast.Call]
) -> list[Edit] | None:
    """Return the edits of an ``only()`` or ``defer()`` that stands there: ours would be undone."""
    new, called = method_call(call)
    if called.attr not in ("only", "defer"):
        return None
    there = next(_named(following, called.attr), None)
    if there is None:
        return None
    node, method = there
    if not new.args or ast.unparse(new.args[0]) == "None":
        return [_removed(source, path, node, method, following)]
    if not node.args or any(isinstance(each, ast.Starred) for each in node.args):
        return None
    present = [ast.unparse(each) for each in node.args]
    wanted = {ast.unparse(each): each for each in new.args}
    if all(name in wanted for name in present):  # No more than what is added is written.
        added = [name for name in wanted if name not in present]
        end = source.end_of(node.args[-1])
        return [Edit(path, end, end, "".join(f', "{name[1:-1]}"' for name in added))]
    names = ", ".join(f'"{name[1:-1]}"' for name in wanted)
    return [Edit(path, source.start_of(node.args[0]), source.end_of(node.args[-1]), names)]


def _removed(
    source: SourceText, path: str, node: ast.Call, method: ast.Attribute, following: list[ast.Call]
) -> Edit:
    """Return the edit that takes a call out of a chain: of a manager a queryset must be left."""
    left = ".all()" if following == [node] else ""
    return Edit(path, source.end_of(method.value), source.end_of(node), left)


def _without(
    source: SourceText, path: str, names: tuple[str, ...], following: list[ast.Call]
) -> Iterator[Edit]:
    """Yield the edits that take lookups out of ``prefetch_related()``."""
    wanted = {ast.unparse(ast.parse(name, mode="eval").body) for name in names}
    for node, method in _named(following, "prefetch_related"):
        kept = [each for each in node.args if ast.unparse(each) not in wanted]
        if len(kept) == len(node.args):
            continue
        if not kept:
            yield _removed(source, path, node, method, following)
            continue
        start, end = source.start_of(node.args[0]), source.end_of(node.args[-1])
        yield Edit(path, start, end, ", ".join(map(source.segment, kept)))


def _in_chunks(source: SourceText, path: str, argument: str, found: ast.expr) -> Iterator[Edit]:
    """Yield the edit of the ``iterator()`` that the expression stands in."""
    around: ast.AST = found
    while not isinstance(around, ast.stmt):
        if (
            isinstance(around, ast.Call)
            and getattr(around.func, "attr", "") in ("iterator", "aiterator")
            and not around.args
            and not around.keywords
        ):
            end = source.end_of(around) - 1
            yield Edit(path, end, end, argument)
        around = source.parents[around]
