"""What the frames between the hook and the project's line say: :class:`OrmFrames`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import django
from django.db.models import Model, QuerySet
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.manager import BaseManager
from django.db.models.query import RawQuerySet, prefetch_related_objects
from django.db.models.query_utils import DeferredAttribute
from django.forms.formsets import BaseFormSet
from django.forms.models import BaseModelFormSet
from django.template.library import InclusionNode
from django.template.loader_tags import IncludeNode

from django_querybudget.stacks import THREAD_HANDLER, is_library

from .bulk_calls import is_of_batches
from .instances import attributes_of, is_of
from .loads import BY_INDEX, LoadKind

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

    from .noting import Evidence

__all__ = ["MOST_FRAMES", "OrmFrames", "passes_on"]

_FORWARD = ForwardManyToOneDescriptor.__get__.__code__
_REVERSE_ONE = ReverseOneToOneDescriptor.__get__.__code__
_DEFERRED = DeferredAttribute.__get__.__code__
_PREFETCH = prefetch_related_objects.__code__
_INCLUDES = {IncludeNode.render.__code__, InclusionNode.render.__code__}
_FORMSETS = {
    BaseFormSet.full_clean.__code__,
    BaseModelFormSet.save_existing_objects.__code__,
    BaseModelFormSet.save_new_objects.__code__,
}
_DJANGO = os.path.join(os.path.dirname(django.__file__), "")
_SERIALIZERS = os.path.join(_DJANGO, "core", "serializers", "")
_ORM = (
    *(os.path.join(_DJANGO, name, "") for name in ("db", "dispatch", "utils")),
    os.path.join(_DJANGO, "shortcuts.py"),
)
_CHECKS = {"clean_fields", "full_clean", "validate_constraints", "validate_unique"}
_GENERIC_FILE = os.path.join("contenttypes", "fields.py")
# Beyond these the stack of a query is not the ORM's.
MOST_FRAMES = 60

_WRITES = {
    "add",
    "bulk_create",
    "bulk_update",
    "clear",
    "create",
    "delete",
    "get_or_create",
    "remove",
    "save",
    "save_base",
    "set",
    "update",
    "update_or_create",
}
_INTERNAL_METHODS = {"__iter__", "__len__", "__bool__", "__getitem__", "__contains__", "__repr__"}


def passes_on(code: CodeType) -> bool:
    """Whether a frame of ``code`` does no more than to hand on what its caller asks the ORM for."""
    if code.co_filename.startswith(_DJANGO):
        return code.co_filename.startswith(_ORM) and code.co_name not in _CHECKS
    return not is_library(code)


class OrmFrames:
    """One walk from the hook to the project's line, and what it met."""

    def __init__(
        self, evidence: Evidence, raw: RawRecord, records: Sequence[RawRecord], frame: FrameType
    ) -> None:
        self.evidence = evidence
        self.records = records
        self.record = raw
        self.queryset: QuerySet[Any] | None = None
        self.operation = ""
        self.arguments: dict[str, Any] = {}
        self.raw_model: type[Model] | None = None
        self.manager: Any = None
        self.instance: Model | None = None
        self.writer: tuple[str, Any, dict[str, Any]] | None = None
        """The outermost method that writes, what it was called on, and its arguments."""
        self.batched = False
        self.is_direct = True
        """Whether the project's line asks the ORM itself, not a form, a validator or a package."""
        self.methods: set[str] = set()
        self.descriptor: tuple[LoadKind, Any, Model] | None = None
        self.included = False
        self.prefetches = False
        self.prefetched: tuple[Any, Any] = None, ()
        """The rows that ``prefetch_related_objects()`` was given, and its lookups."""
        self.serializes = False
        self.innermost = self.outermost = frame
        self._walk(frame)

    def _walk(self, frame: FrameType) -> None:
        origin = self.record.origin
        stop: CodeType | None = None if origin is None else origin.code
        current: FrameType | None = frame
        for _ in range(MOST_FRAMES):
            if current is None or current.f_code is stop:
                break
            self.outermost = current
            if current.f_code is THREAD_HANDLER:  # The coroutine that waits is further out.
                break
            self.is_direct = self.is_direct and passes_on(current.f_code)
            self._look_at(current)
            current = current.f_back

    def _look_at(self, frame: FrameType) -> None:
        code = frame.f_code
        if code is _PREFETCH:
            self.prefetches = True
            names = frame.f_locals
            self.prefetched = names.get("model_instances"), names.get("related_lookups", ())
        elif code in _INCLUDES:
            self.included = True
        elif code in _FORMSETS:  # It does so with its rows one by one: the project's line, once.
            self.batched = True
        elif code.co_name == "handle_m2m_field" and code.co_filename.startswith(_SERIALIZERS):
            self.serializes = True
        elif code in (_FORWARD, _REVERSE_ONE, _DEFERRED) or (
            code.co_name == "__get__" and code.co_filename.endswith(_GENERIC_FILE)
        ):
            self._note_descriptor(frame, code)
        elif code.co_filename.startswith(_DJANGO) and self.descriptor is None:
            # By type(): isinstance() of a lazy object evaluates it, and `or` a queryset.
            found: Any = frame.f_locals.get("self")
            kind = type(found)
            if issubclass(kind, RawQuerySet):
                self.raw_model = found.model
            elif issubclass(kind, QuerySet):
                self._note_queryset(frame, code.co_name, found)
            elif issubclass(kind, BaseManager):
                self._note_manager(code.co_name, found)
            if code.co_name in _WRITES and issubclass(kind, QuerySet | BaseManager | Model):
                self.writer = (code.co_name, found, dict(frame.f_locals))
            self.batched = self.batched or is_of_batches(frame)

    def _note_manager(self, name: str, manager: Any) -> None:
        if attributes_of(manager).get("instance") is not None:
            self.manager = manager
            if not name.startswith("_") and name != "manager_method":
                self.operation = name

    def _note_descriptor(self, frame: FrameType, code: CodeType) -> None:
        if self.descriptor is not None:
            return  # The nearest is the one that queries.
        names = frame.f_locals
        descriptor = names["self"]
        if code is _DEFERRED:
            kind, field = LoadKind.DEFERRED, descriptor.field
        elif code is _REVERSE_ONE:
            kind, field = LoadKind.TO_ONE, descriptor.related
        elif code is _FORWARD:
            kind, field = LoadKind.TO_ONE, descriptor.field
        else:  # Before Django 6.1 a generic foreign key is its own descriptor.
            kind, field = LoadKind.GENERIC, getattr(descriptor, "field", descriptor)
        self.descriptor = (kind, field, names["instance"])

    def _note_queryset(self, frame: FrameType, name: str, queryset: QuerySet[Any]) -> None:
        self.methods.add(name)
        if name == "__getitem__" and is_of(frame.f_locals.get("k"), int):
            self.operation = BY_INDEX
        elif name in _INTERNAL_METHODS:
            self.operation = self.operation or "all"
        elif not name.startswith("_"):
            self.operation = name
            self.arguments = dict(frame.f_locals)
        if self.queryset is None or name in ("first", "last", "count", "exists", "aggregate"):
            self.queryset = queryset
