"""Queryset classes that a cache can get wrong."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from django.db import models
from django.db.models.query import ModelIterable

T = TypeVar("T")


class GenericQuerySet(Generic[T], models.QuerySet):  # type: ignore[type-arg]
    def named(self, name: str) -> Any:
        return self.filter(name=name)


class Slotted:
    __slots__ = ("mark",)


class SlottedQuerySet(Slotted, models.QuerySet):  # type: ignore[type-arg]
    """Has an attribute outside of its ``__dict__``."""

    def _clone(self) -> Any:
        clone = super()._clone()
        if hasattr(self, "mark"):
            clone.mark = self.mark
        return clone

    def marked(self, mark: Any) -> Any:
        clone = self._chain()
        clone.mark = mark
        return clone


class ForUserIterable(ModelIterable):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        for each in super().__iter__():
            each.user = self.queryset.user
            yield each


class StatefulQuerySet(models.QuerySet):  # type: ignore[type-arg]
    """Its rows tell for whom they were read."""

    user: Any = None

    def _clone(self) -> Any:
        clone = super()._clone()
        if "user" in self.__dict__:
            clone.user = self.user
        return clone

    def for_user(self, user: Any) -> Any:
        clone = self._chain()
        clone.user = user
        return clone

    def _fetch_all(self) -> None:
        super()._fetch_all()
        for each in self._result_cache:
            if isinstance(each, models.Model):
                each.user = self.user

    def count(self) -> Any:
        return f"{super().count()} for {self.user}"


class IteratedQuerySet(models.QuerySet):  # type: ignore[type-arg]
    user: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._iterable_class = ForUserIterable

    def _clone(self) -> Any:
        clone = super()._clone()
        clone.user = self.user
        return clone

    def for_user(self, user: Any) -> Any:
        clone = self._chain()
        clone.user = user
        return clone


class Unsubclassable(models.QuerySet):  # type: ignore[type-arg]
    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise TypeError("this class is final")
