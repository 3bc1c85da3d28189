"""The version of a function's code, as part of its entries' keys.

While a site is deployed, processes with the old code and the new one share a cache. An entry that
the old code made is no answer of the new code's. What counts is the code that this process has
loaded, not what the files say by now: the function's own, and what can be reached from it by the
names that stand in it: functions, classes with their methods and managers, constants.

What is called by other ways is not seen. That is why an entry notes, besides, of what SQL it is.
"""

from __future__ import annotations

import inspect
import sys
from collections import deque
from collections.abc import Iterator
from functools import cached_property, lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import django
from django.db.models import Model
from django.db.models.manager import BaseManager
from django.utils import functional

from django_querybudget.cache import tags
from django_querybudget.cache.keys import Unkeyable, spelled
from django_querybudget.cache.payload.models import version_of

__all__ = ["code_version", "spelled_code"]

MOST = 2000
"""How many functions and classes are looked at."""

# Their code goes with their version, and reaches everywhere.
_NOT_FOLLOWED = frozenset({*sys.stdlib_module_names, "django", "django_querybudget"})


def spelled_code(code: CodeType) -> str:
    """Return a function's code as text, equal in every process."""
    constants = ",".join(map(_constant, code.co_consts))
    handlers = code.co_exceptiontable.hex()
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {handlers} {constants}"


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return spelled_code(value)
    if isinstance(value, frozenset):  # its order differs between processes
        return f"{{{','.join(sorted(map(_constant, value)))}}}"
    if isinstance(value, tuple):
        return f"({','.join(map(_constant, value))})"
    return f"{value!r}"  # a plain type, which no host can extend


def code_version(*roots: object) -> str:
    """Return what stands for the code of ``roots``, functions and classes, as it is loaded."""
    seen: dict[int, Any] = {}  # holds what it names by id()
    waiting = deque(roots)
    texts = [str(django.VERSION)]
    while waiting and len(seen) < MOST:
        each = _behind(waiting.popleft())
        if id(each) in seen or not _is_followed(each):
            continue
        seen[id(each)] = each
        text, reached = _read(each)
        texts.append(text)
        waiting.extend(reached)
    return tags.digest("\n".join(texts))


def _read(each: object) -> tuple[str, list[Any]]:
    """Return the text of a function or a class, and what can be reached from it."""
    if isinstance(each, FunctionType):
        # What it was made with is another one's each time, and must not be kept.
        return _function(each) if each.__closure__ else _read_once(each)
    return _read_once(each)


@lru_cache(maxsize=4096)
def _read_once(each: Any) -> tuple[str, list[Any]]:
    return _function(each) if isinstance(each, FunctionType) else _class(each)


def _behind(value: object) -> Any:
    """Return the function behind a method, a property or a decorator."""
    for _ in range(16):
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        elif isinstance(value, cached_property | functional.cached_property):
            value = value.func
        elif inspect.ismethod(value):
            value = value.__func__
        elif isinstance(value, BaseManager):
            value = type(value)
        elif not isinstance(value, FunctionType | type) and (
            (inside := getattr(value, "__dict__", {}).get("__wrapped__")) is not None
        ):
            value = inside
        else:
            break
    return value


def _is_followed(value: object) -> bool:
    if not isinstance(value, FunctionType | type):
        return False
    return (value.__module__ or "").partition(".")[0] not in _NOT_FOLLOWED


def _function(function: FunctionType) -> tuple[str, list[Any]]:
    values, reached = [], []
    for name, value in _named(function):
        if (plain := _plain(name, value)) is not None:
            values.append(plain)
        else:
            reached.append(value)
    for cell in function.__closure__ or ():
        try:
            reached.append(cell.cell_contents)
        except ValueError:  # it has no value yet
            continue
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    values += [text for each in defaults if (text := _plain("DEFAULT", each)) is not None]
    if (inside := function.__dict__.get("__wrapped__")) is not None:
        reached.append(inside)
    name = f"{function.__module__}.{function.__qualname__}"
    return f"{name} {tags.digest(spelled_code(function.__code__))} {values}", reached


def _named(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Return the globals that the code names, and of modules among them what it names there."""
    names = list(dict.fromkeys(_names(function.__code__)))
    around = function.__globals__
    for name in names:
        value = around.get(name)
        if isinstance(value, ModuleType):
            inside = vars(value)
            for other in names:
                if other in inside:
                    yield other, inside[other]
        elif value is not None:
            yield name, value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _plain(name: str, value: object) -> str | None:
    """Return a constant as text; what is not written in capitals may change while it runs."""
    if not name.isupper():
        return None
    try:
        return f"{name}={spelled(value)}"
    except Unkeyable:
        return None


def _class(each: type) -> tuple[str, list[Any]]:
    values: list[str] = []
    reached: list[Any] = [base for base in each.__mro__[1:] if base is not object]
    for name, value in vars(each).items():
        if (plain := _plain(name, value)) is not None:
            values.append(plain)
        elif isinstance(value, property):
            reached += [value.fget, value.fset]
        else:
            reached.append(value)
    if issubclass(each, Model):
        if not each._meta.abstract:
            values.append(version_of(each))
        reached += [type(manager) for manager in each._meta.managers]
    if issubclass(each, BaseManager):
        reached.append(getattr(each, "_queryset_class", None))
    return f"{each.__module__}.{each.__qualname__} {sorted(values)}", reached
