"""What the querysets of a decorated function look like, known from its first call."""

from __future__ import annotations

from functools import cached_property
from types import FunctionType
from typing import Any

from django.db.models import QuerySet

from .codecs import Codec, rows_codec
from .versions import code_version

__all__ = ["Template", "look_of"]


class Template:
    """What a function's queryset looks like."""

    def __init__(self, function: FunctionType, queryset: QuerySet[Any]) -> None:
        self.queryset = queryset
        self.look = look_of(queryset)
        self.alias: str | None = getattr(queryset, "_db")  # noqa: B009  # not in the stubs
        self.shapes: set[str] = set()
        """Digests of the SQL that the function's querysets have in this process."""
        self._function = function

    @cached_property
    def codec(self) -> Codec:
        """How the rows are made of plain values."""
        return rows_codec(self.queryset)

    @cached_property
    def version(self) -> str:
        """What stands for the code that the answer is made by."""
        queryset = self.queryset
        return code_version(
            self._function, type(queryset), queryset.model, queryset._iterable_class
        )


def look_of(queryset: Any) -> list[Any]:
    """Return what has to be equal for one queryset's rows to be made as another's."""
    return [
        type(queryset).__module__,
        type(queryset).__qualname__,
        queryset.model._meta.label_lower,
        queryset._iterable_class.__qualname__,
        [str(lookup) for lookup in queryset._prefetch_related_lookups],
        [str(field) for field in queryset._fields or ()],
    ]
