"""``@cached_queryset``: the answer of a function that returns a queryset, by its arguments.

A call returns a queryset that has not been built: a hit neither calls the function nor compiles
SQL. What the queryset looks like (its class, its model, how it makes rows) is known from the
function's first call in this process, and an entry of another look is a miss.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from types import FunctionType, MethodType
from typing import Any

from django.db.models import QuerySet

from django_querybudget.cache import stats, tags
from django_querybudget.cache.registered import Warm, note_function
from django_querybudget.cache.sites import site_of
from django_querybudget.cache.unbuilt import unbuilt
from django_querybudget.cache.writing.invalidation import renew
from django_querybudget.sql.memory import Memo

from .arguments import Arguments, Reader
from .calls import FunctionCall
from .instances import Untold
from .querysets import CachedQuerySetMixin, cached, cached_class, is_typical
from .questions import Options
from .surroundings import surroundings
from .template import Template

__all__ = ["CachedFunction", "decorated"]


class CachedFunction:
    """A function decorated with ``@cached_queryset``."""

    def __init__(self, function: FunctionType, options: Callable[[], Options]) -> None:
        update_wrapper(self, function)
        self._querybudget_function = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.options = options
        self._reader = Reader(function, self.name)
        self._template: Template | None = None

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Be a method, as the function would be."""
        return self if instance is None else _Bound(self, instance)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Return the function's queryset, which reads through the cache.

        Raises :class:`TypeError` for an argument that cannot be part of a key, and if the
        function returns no queryset.
        """
        options = self.options()

        def build() -> QuerySet[Any]:
            return self.checked(self._querybudget_function(*args, **kwargs))

        if options.timeout == 0:
            return build()
        arguments = self._reader.read(args, kwargs)
        options = _tagged[options, self.name, arguments.identity]
        template = self._template
        if template is None:
            found: Any = cached(queryset := build(), options)
            if isinstance(found, CachedQuerySetMixin) and is_typical(queryset):
                self._template = Template(self._querybudget_function, queryset.all())
            return found
        around = surroundings(template.queryset.model, template.alias)
        try:
            spelled = f"{arguments.identity};{arguments.state()}"
        except Untold as reason:
            stats.count_bypass(f"{self.name}(): {reason}")
            site_of(f"function {self.name}()").bypassed(str(reason))
            return cached(build(), options)
        key = (self.name, template.version, options.key or "", spelled, around.spelled())
        call = FunctionCall(
            function=self, template=template, arguments=arguments, spelled=spelled, around=around,
            options=options, key=key, build=build,
        )  # fmt: skip
        return unbuilt(cached_class(type(template.queryset)), call)

    def invalidate(self, *args: object, **kwargs: object) -> None:
        """Drop what is kept for these arguments."""
        own = _tag(self.name, self._reader.read(args, kwargs).identity)
        renew(None, {tags.user_tag(own)})

    def spelled(self, arguments: Arguments) -> str:
        """Return what the arguments of a call are now."""
        now = self._reader.read(arguments.bound.args, arguments.bound.kwargs)
        return f"{now.identity};{now.state()}"

    def checked(self, queryset: object) -> QuerySet[Any]:
        """Return what the function returned. Raises for what is no fresh queryset."""
        if not isinstance(queryset, QuerySet):
            raise TypeError(
                f"{self.name}() is decorated with cached_queryset and must return a QuerySet, "
                f"not {type(queryset).__name__}."
            )
        if queryset._result_cache is not None:
            raise ValueError(
                f"{self.name}() returned a queryset that has been evaluated already: there is "
                f"nothing to cache. Return it before it is iterated, or call .all() on it."
            )
        return queryset


class _Bound:
    """A :class:`CachedFunction` with its first argument."""

    def __init__(self, function: CachedFunction, instance: object) -> None:
        update_wrapper(self, function)
        self._function = function
        self._instance = instance

    def __call__(self, *args: object, **kwargs: object) -> Any:
        return self._function(self._instance, *args, **kwargs)

    def invalidate(self, *args: object, **kwargs: object) -> None:
        """As :meth:`CachedFunction.invalidate`."""
        self._function.invalidate(self._instance, *args, **kwargs)


def decorated(
    function: Callable[..., Any], options: Callable[[], Options], warm: Warm | None = None
) -> CachedFunction | _Bound:
    """Return ``function`` cached; ``warm`` is what it is to be called with before anybody asks.

    Raises :class:`TypeError` for what is no function."""
    if isinstance(function, staticmethod | classmethod):
        kind = type(function).__name__
        raise TypeError(f"cached_queryset decorates a function: put @{kind} above it, not below.")
    bound = type(function) is MethodType
    plain: Any = function.__func__ if bound else function  # type: ignore[attr-defined]  # a bound method has one
    if isinstance(plain, CachedFunction | _Bound):
        raise TypeError("cached_queryset decorates a plain function, which this one is no longer.")
    if type(plain) is not FunctionType:
        # What such an object holds, and calls, is not known: two partials would share a key.
        raise TypeError(
            f"cached_queryset decorates a function, not {function!r}: write a function that "
            f"calls it."
        )
    if inspect.iscoroutinefunction(plain) or inspect.isgeneratorfunction(plain):
        raise TypeError(
            f"cached_queryset decorates a plain function that returns a queryset; "
            f"{plain.__qualname__}() is a coroutine or a generator. Querysets are lazy: a plain "
            f"function can be called in async code, and its queryset iterated with async for."
        )
    made = CachedFunction(plain, options)
    note_function(made.name, made, warm)
    return _Bound(made, function.__self__) if bound else made  # type: ignore[attr-defined]  # as above


def _tag(name: str, identity: str) -> str:
    """Return the tag of a call's arguments, whatever the code, the language or the database."""
    return f"function:{tags.digest(f'{name} {identity}')}"


def _with_tag(key: tuple[Options, str, str]) -> Options:
    options, name, identity = key
    names = options.tags | {_tag(name, identity)}
    return Options(
        timeout=options.timeout, key=options.key, cache=options.cache, tags=names,
        refresh=options.refresh,
    )  # fmt: skip


_tagged = Memo(_with_tag)
"""A function's options with the tag of a call's arguments: by options, name and identity."""
