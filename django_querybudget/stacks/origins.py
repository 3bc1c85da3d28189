"""The place in the source that a query comes from: :class:`Origin`, and what it is made of."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import CodeType
from typing import Any, TypeAlias

from django.template.base import Node

__all__ = ["Origin", "RawOrigin", "position"]

RawOrigin: TypeAlias = tuple[CodeType | None, int, Node | None, tuple[type, str] | None]
"""What a walk met: code and offset of its instruction (``f_lasti``), template node, serializer and
field. No text is made of it, and no line number, which is a search in the code's line table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The place in the project that a query comes from."""

    filename: str
    """Absolute path of the source file, as the code object has it."""
    line: int
    """Line number, from 1."""
    function: str
    """Qualified name of the function; empty for a template that no line of the project renders."""
    template: str | None = None
    """``name:line`` of the template node that was being rendered, if one was nearer."""
    serializer_field: str | None = None
    """``Serializer.field`` of the REST framework field being rendered, if one was nearer."""

    def __str__(self) -> str:
        try:
            path = os.path.relpath(self.filename) if os.path.isabs(self.filename) else self.filename
        except (OSError, ValueError):  # The working directory is gone, or on another drive.
            path = self.filename
        place = f"{self.filename if path.startswith('..') else path}:{self.line}"
        if self.function:
            place = f"{place} in {self.function}"
        near = self.template or self.serializer_field
        return f"{near} ({place})" if near else place

    @classmethod
    def of(cls, raw: RawOrigin) -> Origin | None:
        """Return what ``raw`` stands for; None if there was nothing to blame."""
        code, instruction, template_node, serializer = raw
        node: Any = template_node
        template = None
        if node is not None:
            template = f"{node.origin.template_name or node.origin.name}:{node.token.lineno}"
        if code is None:
            if node is None:
                return None
            # A response that is rendered after its view: Django's own frames, and the template.
            name, line = str(node.origin.name), node.token.lineno
            return cls(filename=name, line=line, function="", template=template)
        return cls(
            filename=code.co_filename,
            line=line_of(code, instruction),
            function=code.co_qualname,
            template=template,
            serializer_field=(f"{serializer[0].__name__}.{serializer[1]}" if serializer else None),
        )


def line_of(code: CodeType, instruction: int) -> int:
    """Return the line of the instruction at a byte offset; the function's own if it has none."""
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return line
    return code.co_firstlineno


STABLE_POSITIONS = sys.version_info >= (3, 13)

if sys.version_info >= (3, 13):

    def position(code: CodeType, instruction: int) -> int:
        """Return a number for the place of an instruction, the same in every run of a loop."""
        del code
        return instruction

else:
    # A specialised instruction's f_lasti points into its inline cache: it changes as code warms up.
    _positions: dict[tuple[int, int], tuple[CodeType, int]] = {}
    _MOST_POSITIONS = 10_000

    def position(code: CodeType, instruction: int) -> int:
        """Return a number for the place of an instruction, the same in every run of a loop."""
        key = (id(code), instruction)
        found = _positions.get(key)
        if found is None or found[0] is not code:
            if len(_positions) >= _MOST_POSITIONS:
                _positions.clear()
            found = _positions[key] = (code, line_of(code, instruction))
        return found[1]
