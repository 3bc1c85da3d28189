"""``@cached_queryset``: the answer of a function that returns a queryset, by its arguments.

A call returns a queryset that has not been built: a hit neither calls the function nor compiles
SQL. What the queryset would look like (its class, its model, how it makes rows) is known from the
function's first call in this process, and an entry of another look is a miss.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from types import CodeType
from typing import Any

from django.db.models import Manager, Model, QuerySet

from django_querybudget.cache import tags
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled
from django_querybudget.cache.payload.freeze import Changed
from django_querybudget.cache.writing.instances import row_dependencies
from django_querybudget.cache.writing.invalidation import renew

from .querysets import cached, is_typical, unbuilt
from .questions import Options, rows_form
from .through import Form, Question

__all__ = ["CachedFunction", "decorated"]


class CachedFunction:
    """A function decorated with ``@cached_queryset``."""

    def __init__(self, function: Callable[..., Any], options: Callable[[], Options]) -> None:
        update_wrapper(self, function)
        self.function = function
        self.options = options
        self.signature = inspect.signature(function)
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._code = tags.digest(_spelled_code(getattr(function, "__code__", None)))
        self._template: QuerySet[Any] | None = None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Be a method, as the function would be."""
        return self if instance is None else _Bound(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the function's queryset, which reads through the cache.

        Raises :class:`TypeError` for an argument that cannot be part of a key, and if the
        function returns no queryset.
        """
        key, instances = self._key(args, kwargs)
        options = self._options(key)
        template = self._template
        if template is None:
            queryset = self._built(args, kwargs)
            if is_typical(queryset):
                self._template = queryset.all()
            return cached(queryset, options)

        def question(queryset: QuerySet[Any]) -> Question:
            return self._question(key, instances, options, template, queryset)

        return unbuilt(template, options, lambda: self._built(args, kwargs), question)

    def invalidate(self, *args: Any, **kwargs: Any) -> None:
        """Drop what is kept for these arguments."""
        key, _ = self._key(args, kwargs)
        renew(None, {tags.user_tag(_tag(key))})

    def _options(self, key: str) -> Options:
        options = self.options()
        return Options(
            timeout=options.timeout,
            key=options.key,
            cache=options.cache,
            tags=options.tags | {_tag(key)},
        )

    def _key(self, args: Any, kwargs: Any) -> tuple[str, list[Model]]:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        parts: list[str] = []
        instances: list[Model] = []
        for name, value in bound.arguments.items():
            try:
                kind = self.signature.parameters[name].kind
                several = kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
                each = (
                    list(value.values() if isinstance(value, dict) else value)
                    if several
                    else [value]
                )
                for one in each:
                    hash(one)
                parts.append(f"{name}={_spelled_argument(value)}")
            except (Unkeyable, TypeError) as error:
                raise TypeError(
                    f"argument {name!r} of {self._name}() cannot be part of a cache key "
                    f"({error}): pass plain values, tuples of them, or saved model instances."
                ) from error
            instances += [one for one in each if isinstance(one, Model)]
        own = self.options().key or ""
        around = self._around()
        return entry_key(
            "function", self._name, self._code, own, ";".join(parts), *around
        ), instances

    def _around(self) -> list[str]:
        """Return the variables of the functions around it: they are as good as arguments."""
        cells = getattr(self.function, "__closure__", None)
        if not cells:
            return []
        parts: list[str] = []
        for name, cell in zip(self.function.__code__.co_freevars, cells, strict=True):
            try:
                parts.append(f"{name}={_spelled_around(cell.cell_contents)}")
            except Unkeyable as error:
                raise TypeError(
                    f"{name!r}, which {self._name}() takes from the function around it, cannot be "
                    f"part of a cache key ({error}): make it a plain value, or an argument."
                ) from error
            except ValueError:  # it has no value yet
                parts.append(name)
        return parts

    def _built(self, args: Any, kwargs: Any) -> QuerySet[Any]:
        queryset = self.function(*args, **kwargs)
        if not isinstance(queryset, QuerySet):
            raise TypeError(
                f"{self._name}() is decorated with cached_queryset and must return a QuerySet, "
                f"not {type(queryset).__name__}."
            )
        if queryset._result_cache is not None:
            raise ValueError(
                f"{self._name}() returned a queryset that has been evaluated already: there is "
                f"nothing to cache. Return it before it is iterated, or call .all() on it."
            )
        return queryset

    def _question(
        self,
        key: str,
        instances: list[Model],
        options: Options,
        template: QuerySet[Any],
        queryset: QuerySet[Any],
    ) -> Question:
        look = _look(template)

        def freeze(rows: Any) -> Any:
            # By now the queryset has been built.
            return {"look": _look(queryset), "rows": rows_form(queryset).freeze(rows)}

        form = rows_form(template)

        def prepare(payload: Any) -> Any:
            if payload["look"] != look:
                raise Changed(self._name)
            return look, form.prepare(payload["rows"])

        def thaw(prepared: Any) -> Any:
            # It may have been prepared for another function of this name.
            if prepared[0] != look:
                raise Changed(self._name)
            return form.thaw(prepared[1])

        depends = frozenset(tag for each in instances for tag in row_dependencies(each))
        return Question(
            key=entry_key(key),
            shape=key,
            expected=depends,
            required=depends,
            aliases=(),
            form=Form(form.kind, freeze, prepare, thaw),
            found=bool,
            timeout=options.timeout,
            cache=options.cache,
            user_tags=frozenset(map(tags.user_tag, options.tags)),
        )


class _Bound:
    """A :class:`CachedFunction` with its first argument."""

    def __init__(self, function: CachedFunction, instance: Any) -> None:
        self._function = function
        self._instance = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self._instance, *args, **kwargs)

    def invalidate(self, *args: Any, **kwargs: Any) -> None:
        """As :meth:`CachedFunction.invalidate`."""
        self._function.invalidate(self._instance, *args, **kwargs)


def decorated(function: Callable[..., Any], options: Callable[[], Options]) -> CachedFunction:
    """Return ``function`` cached. Raises :class:`TypeError` for what is no function."""
    if isinstance(function, staticmethod | classmethod):
        kind = type(function).__name__
        raise TypeError(f"cached_queryset decorates a function: put @{kind} above it, not below.")
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"cached_queryset decorates a function, not {function!r}.")
    if not hasattr(function, "__qualname__"):  # two partials of one function would share a key
        raise TypeError(
            f"cached_queryset decorates a function, by whose name its answers are kept; "
            f"{function!r} has none: write a function that calls it."
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(
            f"cached_queryset decorates a plain function that returns a queryset; "
            f"{function.__qualname__}() is a coroutine or a generator. Querysets are lazy: a plain "
            f"function can be called in async code, and its queryset iterated with async for."
        )
    return CachedFunction(function, options)


def _tag(key: str) -> str:
    return f"function:{key}"


def _spelled_argument(value: Any) -> str:
    if isinstance(value, Manager) and not hasattr(value, "instance"):
        return f"manager {type(value).__qualname__} {value.model._meta.label} {value._db}"
    if isinstance(value, type):
        return f"class {value.__module__}.{value.__qualname__}"
    return spelled(value)


def _spelled_around(value: Any) -> str:
    if inspect.ismodule(value):
        return f"module {value.__name__}"
    named: Any = value.function if isinstance(value, CachedFunction) else value
    if inspect.isfunction(named) and not named.__closure__:
        code = _spelled_code(named.__code__)
        return f"function {named.__module__}.{named.__qualname__} {code}"
    return _spelled_argument(value)


def _spelled_code(code: Any) -> str:
    """Return the function's code as text: a changed function has other entries."""
    if not isinstance(code, CodeType):
        return ""
    constants = ",".join(
        _spelled_code(each) if isinstance(each, CodeType) else repr(each)
        for each in code.co_consts
        if not isinstance(each, frozenset)  # its order differs between processes
    )
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _look(queryset: Any) -> list[Any]:
    """Return what has to be equal for one queryset's rows to be made as another's."""
    return [
        type(queryset).__module__,
        type(queryset).__qualname__,
        queryset.model._meta.label_lower,
        queryset._iterable_class.__qualname__,
        [str(lookup) for lookup in queryset._prefetch_related_lookups],
        [str(field) for field in queryset._fields or ()],
    ]
