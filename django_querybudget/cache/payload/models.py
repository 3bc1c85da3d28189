"""What of a model decides how its instances are made, and whether they are the same again."""

from __future__ import annotations

from functools import lru_cache
from inspect import getattr_static

from django.db.models import Model
from django.db.models.signals import post_init, pre_init

from django_querybudget.cache import tags

__all__ = [
    "Changed",
    "attnames",
    "has_own_from_db",
    "is_made_by_init",
    "is_plain_model",
    "version_of",
]


class Changed(Exception):
    """The models are not those that the payload was made of: a miss."""


@lru_cache(maxsize=1024)
def version_of(model: type[Model]) -> str:
    """Return what stands for the model's fields as they are now."""
    fields = [
        f"{each.attname} {each.column} {type(each).__module__}.{type(each).__qualname__}"
        for each in model._meta.concrete_fields
    ]
    return tags.digest("\n".join(fields))[:12]


def has_own_from_db(model: type[Model]) -> bool:
    """Whether the host's code makes the instance of a row."""
    return model.from_db.__func__ is not Model.from_db.__func__  # type: ignore[attr-defined]  # a class method's function


def is_plain_model(model: type[Model]) -> bool:
    """Whether an instance is nothing but its attributes: no code of the host's makes it."""
    return model.__init__ is Model.__init__ and is_made_by_init(model)


def is_made_by_init(model: type[Model]) -> bool:
    """Whether no other code of the host's than ``__init__`` makes an instance."""
    return (
        not has_own_from_db(model)
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and type(model).__call__ is type.__call__
        and _has_plain_attributes(model)
        and not pre_init.has_listeners(model)
        and not post_init.has_listeners(model)
    )


@lru_cache(maxsize=1024)
def _has_plain_attributes(model: type[Model]) -> bool:
    """Whether no descriptor of the host's is called when a field's value is set."""
    for each in model._meta.concrete_fields:
        found = type(getattr_static(model, each.attname, None))
        if hasattr(found, "__set__") and not found.__module__.startswith("django."):
            return False
    return True


@lru_cache(maxsize=1024)
def attnames(model: type[Model]) -> frozenset[str]:
    return frozenset(each.attname for each in model._meta.concrete_fields)
