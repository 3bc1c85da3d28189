"""Which of several: what the frames inside of the project's line tell apart.

One line may load several relations: ``getattr(ticket, name).name`` over three foreign keys to one
model, a form's fields, a serializer that is nested twice. Text, place and call path are the same;
the descriptor, the field and the template's node are not. So :func:`look_inside` is asked for every
query: one walk to the project's line, which is a dozen frames of Django's.

A request is one of several, too: those of a test's client are no loop of the project's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from types import FrameType
from typing import Any

from django.core.signals import request_started
from django.db.models import ForeignKey
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.query_utils import DeferredAttribute
from django.forms.forms import BaseForm
from django.template.base import Node

__all__ = ["look_inside", "prepare"]

_MOST_FRAMES = 60

_Look = Callable[[Mapping[str, Any]], Hashable]


def _self(names: Mapping[str, Any]) -> Hashable:
    return id(names["self"])


def _serialized(names: Mapping[str, Any]) -> Hashable:
    # By name: a serializer may be made anew for each row, its fields with it.
    return type(names["self"]), getattr(names.get("field"), "field_name", None)


# By identity: to hash a code object is slow, and it is done for each frame.
_TELLING: dict[int, _Look] = {
    id(ForwardManyToOneDescriptor.__get__.__code__): _self,
    id(ReverseOneToOneDescriptor.__get__.__code__): _self,
    id(DeferredAttribute.__get__.__code__): _self,
    id(ForeignKey.validate.__code__): _self,
    id(Node.render_annotated.__code__): _self,
    id(BaseForm._clean_fields.__code__): lambda names: names.get("name"),  # type: ignore[attr-defined]
}

_request: ContextVar[int] = ContextVar("querybudget_request", default=0)


def prepare() -> None:
    """Listen to requests, and know REST framework's serializers if the project has imported them.

    To be called before a recording; calling it again does nothing.
    """
    request_started.connect(_note_request, dispatch_uid="django_querybudget.inside")
    module: Any = sys.modules.get("rest_framework.serializers")
    if module is not None:
        for method in (module.Serializer.to_representation, module.Serializer.to_internal_value):
            _TELLING[id(method.__code__)] = _serialized


def _note_request(sender: Any, **_: Any) -> None:
    _request.set(_request.get() + 1)


def look_inside(frame: FrameType | None, end: FrameType | None) -> int:
    """Return a hash of what tells this query apart from others of its line; 0 for most.

    ``end`` is the frame of that line, if there is one on the stack: what is asked of each frame
    before it is paid by every query.
    """
    way = _request.get()
    telling = _TELLING
    for _ in range(_MOST_FRAMES):
        if frame is None or frame is end:
            break
        look = telling.get(id(frame.f_code))
        if look is not None:
            way = hash((way, look(frame.f_locals)))
        frame = frame.f_back
    return way
