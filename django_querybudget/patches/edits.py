"""What a patch does to files: :class:`Edit`, and :func:`combined`, the edits of several patches."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Contradiction", "Edit", "combined", "method_call"]

_ADDED_TO = {"select_related", "prefetch_related", "annotate"}


class Contradiction(Exception):
    """Two edits want different things of one place."""


@dataclass(frozen=True, order=True)
class Edit:
    """One change of a file's text, by positions in the text that it is made to."""

    path: str
    """The file, relative to the project's root, with slashes."""
    start: int
    end: int
    """What is replaced; an insertion if ``end`` is ``start``."""
    new: str = ""
    """What is written there, with ``\\n`` for line ends."""
    calls: tuple[str, ...] = ()
    """In place of ``new``: methods to write behind an expression, as ``'.select_related("job")'``:
    those of several patches become one."""
    imports: tuple[str, ...] = ()
    """In place of all else: ``from … import …`` statements that the module is to have."""

    def as_data(self) -> list[object]:
        return [self.path, self.start, self.end, self.new, list(self.calls), list(self.imports)]

    @classmethod
    def from_data(cls, data: list[object]) -> Edit:
        path, start, end, new, calls, imports = data
        return cls(path, start, end, new, tuple(calls), tuple(imports))  # type: ignore[arg-type]  # of as_data()


def method_call(call: str) -> tuple[ast.Call, ast.Attribute]:
    """Return the nodes of a method's call, ``'.only("title")'``: the call's, and the method's."""
    node = ast.parse(f"_{call}", mode="eval").body
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        raise TypeError(f"{call!r} is no call of a method")
    return node, node.func


def combined(edits: Iterable[Edit]) -> list[Edit]:
    """Return the edits in their order, none twice, those of one chain of methods as one.

    Raises :class:`Contradiction` where two overlap and are not the same.
    """
    found: list[Edit] = []
    for edit in sorted(set(edits)):
        last = found[-1] if found and found[-1].path == edit.path else None
        if last is None or edit.imports or last.imports:
            found.append(edit)
        elif edit.calls and last.calls and edit.start == last.start:
            calls = _merged_calls([*last.calls, *edit.calls])
            found[-1] = Edit(edit.path, edit.start, edit.end, calls=calls)
        elif edit.start < last.end or (edit.start, edit.end) == (last.start, last.end):
            raise Contradiction(
                f"another patch changes the same expression of {edit.path}: once that is written, "
                "run fix again"
            )
        else:
            found.append(edit)
    return found


def _merged_calls(calls: Iterable[str]) -> tuple[str, ...]:
    """Return the calls, those of one method as one, with the arguments of both.

    Raises :class:`Contradiction` where one name would be two values.
    """
    merged: dict[str, list[str]] = {}
    alone: list[str] = []
    for call in dict.fromkeys(calls):
        node, method = method_call(call)
        if method.attr not in _ADDED_TO:
            alone.append(call)
            continue
        known = merged.setdefault(method.attr, [])
        for argument in (*node.args, *node.keywords):
            text = ast.get_source_segment(f"_{call}", argument) or ast.unparse(argument)
            if text not in known:
                known.append(text)
    if len(alone) > 1:
        raise Contradiction("two lines for the columns that one queryset loads")
    names = [each.partition("=")[0] for each in merged.get("annotate", ())]
    if len(set(names)) < len(names):
        raise Contradiction("one annotation's name for two expressions")
    if "select_related" in merged:
        merged["select_related"] = _longest(merged["select_related"])
    order = [f".{method}({', '.join(merged[method])})" for method in sorted(merged, key=_rank)]
    return (*order, *alone)


def _rank(method: str) -> int:
    return ("select_related", "prefetch_related", "annotate").index(method)


def _longest(names: list[str]) -> list[str]:
    """Return the quoted lookups that are no part of a longer one."""
    return [
        name
        for name in names
        if not any(other.startswith(f"{name.rstrip(chr(34))}__") for other in names)
    ]
