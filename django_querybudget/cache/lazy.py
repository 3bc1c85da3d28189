"""Values behind Django's lazy objects: ``request.user``, translations."""

from __future__ import annotations

from typing import Any

from django.utils.functional import LazyObject, Promise, empty

__all__ = ["unwrapped"]


def unwrapped(value: Any) -> Any:
    """Return what a lazy object stands for, evaluated now; any other value as it is.

    Known are :class:`~django.utils.functional.LazyObject` (``request.user`` is one) and what
    :func:`~django.utils.functional.lazy` makes (``gettext_lazy()``), around one another too.
    """
    while True:
        kind = type(value)
        if issubclass(kind, LazyObject):
            if value._wrapped is empty:
                value._setup()
            value = value._wrapped
        elif issubclass(kind, Promise):
            # What the function behind it gives, of whatever type: Django's own way in.
            value = value._proxy____cast()
        else:
            return value
