"""The place in the source that a query comes from: :class:`Origin`, and what it is made of."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, NamedTuple

from django.template.base import Node

from .hosts import Host, RawHost

__all__ = ["Origin", "RawOrigin", "SerializerField", "position", "shown_path"]


class SerializerField(NamedTuple):
    """The REST framework field that was being rendered."""

    serializer: type
    """The serializer's class."""
    field: str
    """The field's name in it."""


class RawOrigin(NamedTuple):
    """What a walk met: an :class:`Origin` is made of it when somebody looks.

    No text is made for it, and no line number, which is a search in the code's line table.
    """

    code: CodeType | None
    """The project's nearest function, or a package's; None if there is neither on the stack."""
    instruction: int
    """Where in it: an offset in bytes (``f_lasti``)."""
    node: Node | None = None
    """The template node that was being rendered, if one was nearer."""
    serializer: SerializerField | None = None
    """The serializer's field that was being rendered, if one was nearer."""
    host: RawHost | None = None
    """Whom a framework evaluated for, if no line of the project did."""

    @property
    def is_plain(self) -> bool:
        """Whether the query was sent from that line itself, not by a template or a serializer."""
        return self.node is None and self.serializer is None


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
    host: Host | None = field(default=None, compare=False)
    """What the project wrote that a framework evaluated for, where no line of the project did: a
    view, a viewset, a ``ModelAdmin``, an operation, a resolver. The place is then where *that* says
    what is queried."""

    def __str__(self) -> str:
        return self._near(f"{self.place} in {self.function}" if self.function else self.place)

    @property
    def place(self) -> str:
        """File and line, ``"jobs/views.py:31"``."""
        return f"{shown_path(self.filename)}:{self.line}"

    @property
    def nearest_place(self) -> str:
        """File and line, after the template's or the serializer's field where one was nearer."""
        return self._near(self.place)

    def _near(self, place: str) -> str:
        near = self.template or self.serializer_field
        return f"{near} ({place})" if near else place

    @classmethod
    def of(cls, raw: RawOrigin) -> Origin | None:
        """Return what ``raw`` stands for; None if there was nothing to blame."""
        code, serializer = raw.code, raw.serializer
        node: Any = raw.node
        template = None
        if node is not None:
            template = f"{node.origin.template_name or node.origin.name}:{node.token.lineno}"
        if raw.host is not None:
            host = Host.of(raw.host)
            if host.filename:
                return cls(
                    filename=host.filename,
                    line=host.line,
                    function=host.label,
                    template=template,
                    serializer_field=_named(serializer),
                    host=host,
                )
        if code is None:
            if node is None:
                return None
            # A response that is rendered after its view: Django's own frames, and the template.
            name, line = str(node.origin.name), node.token.lineno
            return cls(filename=name, line=line, function="", template=template)
        return cls(
            filename=code.co_filename,
            line=line_of(code, raw.instruction),
            function=code.co_qualname,
            template=template,
            serializer_field=_named(serializer),
        )


def shown_path(filename: str) -> str:
    """Return a file's path for people: from the working directory where the file is below it."""
    try:
        path = os.path.relpath(filename) if os.path.isabs(filename) else filename
    except (OSError, ValueError):  # The working directory is gone, or on another drive.
        return filename
    return filename if path.startswith("..") else path


def _named(serializer: SerializerField | None) -> str | None:
    return f"{serializer.serializer.__name__}.{serializer.field}" if serializer else None


def line_of(code: CodeType, instruction: int) -> int:
    """Return the line of the instruction at a byte offset; the function's own if it has none."""
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return line
    return code.co_firstlineno


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
