"""What refers to an instance while a query runs: names of functions, other instances."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from types import FrameType
from typing import Any

from django.db.models import Model
from django.template.base import Variable

from django_querybudget.stacks import is_library, is_project, outward

from .hops import step_to
from .instances import attributes_of, is_of, related_of
from .loads import Step

__all__ = ["MOST_FRAMES", "holders", "name_in"]

MOST_FRAMES = 60
"""How far outward it is looked for names."""

_MOST_RELATIONS = 4

_RESOLVE = Variable._resolve_lookup.__code__  # type: ignore[attr-defined]  # no stub has it


def name_in(frame: FrameType | None, instance: Model) -> str:
    """Return what the function of ``frame`` calls ``instance``; nothing if it has no name."""
    if frame is None:
        return ""
    names = {name: value for name, value in frame.f_locals.items() if name.isidentifier()}
    for name, value in names.items():
        if value is instance:
            return name
    for name, value in names.items():
        if is_of(value, Model):
            path = _way(value, instance, _MOST_RELATIONS)
            if path is not None:
                return ".".join((name, *(step.accessor for step in path)))
    return ""


def holders(instance: Model, frame: FrameType | None) -> Iterator[tuple[Model, tuple[Step, ...]]]:
    """Yield what the project has at hand, and the way from there to ``instance``; itself last."""
    for each in islice(outward(frame), MOST_FRAMES):
        for value in _values_at(each):
            if value is not instance and is_of(value, Model):
                path = _way(value, instance, _MOST_RELATIONS)
                if path is not None:
                    yield value, path
    yield instance, ()


def _values_at(frame: FrameType) -> list[Any]:
    """Return what a function of the project's or of a package's has at hand, or a template."""
    code = frame.f_code
    if is_project(code) or is_library(code):
        return list(frame.f_locals.values())
    if code is _RESOLVE:
        dicts = attributes_of(frame.f_locals.get("context")).get("dicts", ())
        return [value for each in reversed(dicts) if is_of(each, dict) for value in each.values()]
    return []


def _way(holder: Model, instance: Model, most: int) -> tuple[Step, ...] | None:
    """Return the relations, all of them loaded, from one instance to the other."""
    for name, value in tuple(related_of(holder).items()):
        if value is instance or (most > 1 and is_of(value, Model)):
            step = step_to(type(holder), name)
            if step is None or _goes_back(holder, name, value):
                continue
            rest = () if value is instance else _way(value, instance, most - 1)
            if rest is not None:
                return (step, *rest)
    return None


def _goes_back(holder: Model, name: str, value: Any) -> bool:
    """Whether a one-to-one or a related manager put it there: it was what led to ``holder``."""
    field = type(holder)._meta.get_field(name)
    remote: Any = field.remote_field
    if remote is None or not is_of(value, Model):
        return False
    cached = related_of(value).get(getattr(remote, "cache_name", name))
    return cached is holder and not field.concrete
