"""What a call of a decorated function is given: its arguments, and the variables around it.

They are spelled twice. The *identity* is what ``invalidate()`` with the same arguments finds: an
instance stands in it by its primary key. The *state* adds what the instances hold, see
:mod:`.instances`; both are in the entry's key.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Manager, Model

from django_querybudget.cache.keys import Unkeyable, class_name, spelled
from django_querybudget.cache.lazy import unwrapped

from .instances import spelled_state
from .versions import spelled_code

__all__ = ["Arguments", "Reader"]

_ATOMS = frozenset({str, int, bool, type(None)})
"""Types of most arguments, which are neither lazy nor instances, and hold none."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call; lazy ones evaluated."""

    function: types.FunctionType
    bound: inspect.BoundArguments
    identity: str
    instances: tuple[Model, ...]

    def state(self) -> str:
        """Return what the instances hold. Raises :class:`~.instances.Untold`."""
        return ";".join(map(spelled_state, self.instances))

    def call(self, instead: Mapping[int, Model] | None = None) -> Any:
        """Call the function, with other instances in the place of those with an ``id()``."""
        if not instead:
            return self.function(*self.bound.args, **self.bound.kwargs)
        bound = inspect.BoundArguments(
            self.bound.signature,
            {name: _replaced(each, instead) for name, each in self.bound.arguments.items()},
        )
        return _with_cells(self.function, instead)(*bound.args, **bound.kwargs)


_POSITIONAL = frozenset(
    {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
)


class Reader:
    """Reads the arguments of a function's calls."""

    def __init__(self, function: types.FunctionType, name: str) -> None:
        self.function = function
        self.name = name
        self.signature = inspect.signature(function)
        kinds = {each.kind for each in self.signature.parameters.values()}
        self._places = tuple(self.signature.parameters) if kinds <= _POSITIONAL else None

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """Return the arguments. Raises :class:`TypeError` for what cannot be part of a key."""
        if not kwargs and self._places is not None and len(args) == len(self._places):
            # As bind() does, in a third of the time.
            bound = inspect.BoundArguments(
                self.signature, dict(zip(self._places, args, strict=True))
            )
        else:
            bound = self.signature.bind(*args, **kwargs)
            bound.apply_defaults()
        parts: list[str] = []
        instances: list[Model] = []
        for name, value in bound.arguments.items():
            if type(value) in _ATOMS:
                parts.append(f"{name}={spelled(value)}")
                continue
            try:
                bound.arguments[name], text = self._read_one(name, value, instances)
            except (Unkeyable, TypeError) as error:
                raise TypeError(
                    f"argument {name!r} of {self.name}() cannot be part of a cache key "
                    f"({error}): pass plain values, tuples of them, or saved model instances."
                ) from error
            parts.append(f"{name}={text}")
        if self.function.__closure__:
            parts += self._around(instances)
        return Arguments(self.function, bound, ";".join(parts), tuple(instances))

    def _read_one(self, name: str, value: Any, instances: list[Model]) -> tuple[Any, str]:
        kind = self.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            found: Any = tuple(_evaluated(each, instances) for each in value)
            return found, f"*[{','.join(map(_spelled, found))}]"
        if kind is inspect.Parameter.VAR_KEYWORD:
            found = {key: _evaluated(each, instances) for key, each in value.items()}
            return found, ",".join(f"{key}={_spelled(found[key])}" for key in sorted(found))
        found = _evaluated(value, instances)
        return found, _spelled(found)

    def _around(self, instances: list[Model]) -> list[str]:
        """Return the variables of the functions around it: they are as good as arguments."""
        parts: list[str] = []
        cells = self.function.__closure__ or ()
        for name, cell in zip(self.function.__code__.co_freevars, cells, strict=True):
            try:
                value = cell.cell_contents
                if not isinstance(value, type):
                    value = unwrapped(value)
                    _collect(value, instances)
                parts.append(f"{name}={_spelled_around(value)}")
            except Unkeyable as error:
                raise TypeError(
                    f"{name!r}, which {self.name}() takes from the function around it, cannot be "
                    f"part of a cache key ({error}): make it a plain value, or an argument."
                ) from error
            except ValueError:  # it has no value yet
                parts.append(name)
        return parts


def _evaluated(value: object, instances: list[Model]) -> Any:
    """Return an argument with what is lazy in it evaluated; note the instances among it."""
    if type(value) in _ATOMS:
        return value
    value = unwrapped(value)
    if type(value) is tuple:
        return tuple(_evaluated(each, instances) for each in value)
    hash(value)  # what cannot be hashed may change before the function is called
    _collect(value, instances)
    return value


def _collect(value: object, instances: list[Model]) -> None:
    if isinstance(value, Model):
        if not any(each is value for each in instances):
            instances.append(value)
    elif isinstance(value, tuple | frozenset | list | set):
        for each in value:
            _collect(each, instances)
    elif isinstance(value, Mapping):
        _collect((*value, *value.values()), instances)


def _replaced(value: Any, instead: Mapping[int, Model]) -> Any:
    if isinstance(value, Model):
        return instead.get(id(value), value)
    if type(value) in (tuple, frozenset, list, set):
        return type(value)(_replaced(each, instead) for each in value)
    if type(value) is dict:
        return {key: _replaced(each, instead) for key, each in value.items()}
    return value


def _with_cells(function: types.FunctionType, instead: Mapping[int, Model]) -> Callable[..., Any]:
    """Return the function with other instances in the variables around it."""
    if not function.__closure__:
        return function
    cells = [
        types.CellType(found)
        if (found := _replaced(value := _content(cell), instead)) is not value
        else cell
        for cell in function.__closure__
    ]
    made = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__,
        tuple(cells),
    )  # fmt: skip
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _content(cell: types.CellType) -> Any:
    try:
        return unwrapped(cell.cell_contents)
    except ValueError:  # it has no value yet
        return None


def _spelled(value: object) -> str:
    if type(value) in _ATOMS:
        return spelled(value)
    if isinstance(value, Manager) and not hasattr(value, "instance"):
        manager: Any = value
        args, made_with = manager._constructor_args
        state = {name: each for name, each in vars(value).items() if name not in _MANAGERS_OWN}
        return (
            f"manager {class_name(type(value))} {value.model._meta.label} {value._db!r} "
            f"{spelled(list(args))} {spelled(dict(made_with))} {spelled(state)}"
        )
    if isinstance(value, type):
        return f"class {class_name(value)}"
    return spelled(value)


_MANAGERS_OWN = frozenset(
    {"_constructor_args", "creation_counter", "model", "name", "_db", "_hints", "auto_created"}
)


def _spelled_around(value: object, depth: int = 0) -> str:
    if isinstance(value, type):
        return f"class {class_name(value)}"
    if inspect.ismodule(value):
        return f"module {value.__name__}"
    named: Any = getattr(value, "_querybudget_function", value)
    if type(named) is types.FunctionType:
        return _spelled_function(named, depth)
    return _spelled(value)


def _spelled_function(function: types.FunctionType, depth: int) -> str:
    """Spell a function that another one calls, with all that it was made with."""
    if depth > 8:  # it has itself among its variables, say
        raise Unkeyable(f"function {function.__qualname__}, which has too many around it")
    parts = [f"{function.__module__}.{function.__qualname__}", spelled_code(function.__code__)]
    parts.append(spelled(function.__defaults__))
    parts.append(spelled(function.__kwdefaults__))
    parts.append(spelled({k: v for k, v in vars(function).items() if k != "__wrapped__"}))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = unwrapped(cell.cell_contents)
        except ValueError:  # it has no value yet
            parts.append(name)
            continue
        found: list[Model] = []
        _collect(value, found)
        if found:
            raise Unkeyable(f"an instance in the variables of {function.__qualname__}()")
        parts.append(f"{name}={_spelled_around(value, depth + 1)}")
    return "function " + " ".join(f"{len(part)}:{part}" for part in parts)
