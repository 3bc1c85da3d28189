"""Copies of a table's rows, for a transaction that will be rolled back.

No ``save()`` of the project's runs and no signal is sent: copies are made in bulk, through a plain
queryset. A copy has what its original has, but for what must differ: its primary key, and one field
of each set that is unique together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from django.db import models, transaction
from django.db.models import F, QuerySet, UniqueConstraint

from django_querybudget.exceptions import QueryBudgetError

__all__ = ["CannotCopy", "copy_rows"]

MOST_ORIGINALS = 20
"""The newest rows are copied: those that a test has just made."""
MOST_COPIES = 400
MOST_TARGETS = 2
"""How far unique relations are followed: a copy of a profile needs a copy of its user."""

_VARIED = (
    models.CharField,
    models.TextField,
    models.IntegerField,
    models.DateField,
    models.DecimalField,
    models.FloatField,
)
_numbers = count(1)


class CannotCopy(QueryBudgetError):
    """Rows of a model cannot be copied; the text says why."""


def copy_rows(model: type[models.Model], times: int, using: str) -> int:
    """Make ``times`` copies of each of the newest rows, and return how many were made.

    Raises :class:`CannotCopy`; the transaction is as it was, then.
    """
    originals = list(_rows(model, using).order_by("-pk")[:MOST_ORIGINALS])
    if not originals:
        raise CannotCopy("no row was there when it was asked for")
    times = max(1, min(times, MOST_COPIES // len(originals)))
    try:
        with transaction.atomic(using=using):
            return len(_copied([each for each in originals for _ in range(times)], using, 0))
    except CannotCopy:
        raise
    except Exception as error:  # the database's constraints, the project's fields
        raise CannotCopy(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error


def _rows(model: type[models.Model], using: str) -> QuerySet[models.Model]:
    # Not a manager's: one may hide rows.
    return QuerySet(model, using=using)


def _copied(originals: Sequence[models.Model], using: str, depth: int) -> list[models.Model]:
    """Make one copy of each of ``originals``, which are of one model."""
    model = type(originals[0])
    options = model._meta
    if options.parents:
        raise CannotCopy("its rows stand in two tables: it inherits another model's")
    varied = list(_fields_to_vary(model))
    kept = [
        each
        for each in options.local_concrete_fields
        if not each.primary_key and not getattr(each, "generated", False)
    ]
    copies = []
    for original in originals:
        values = {each.attname: getattr(original, each.attname) for each in kept}
        values |= {
            each.attname: _other(each, getattr(original, each.attname))
            for each in varied
            if not isinstance(each, models.ForeignKey)
        }
        copies.append(model(**values))
    for each in varied:
        if isinstance(each, models.ForeignKey):
            _give_targets(each, originals, copies, using, depth)
    return _rows(model, using).bulk_create(copies)


def _give_targets(
    key: models.ForeignKey[Any, Any],
    originals: Sequence[models.Model],
    copies: Sequence[models.Model],
    using: str,
    depth: int,
) -> None:
    """Let each copy point to a copy of what its original points to."""
    if depth >= MOST_TARGETS:
        raise CannotCopy(f"{key.model._meta.label}.{key.name} is unique, and so on: too deep")
    wanted = {getattr(each, key.attname) for each in originals} - {None}
    name = key.target_field.name
    targets = {
        getattr(each, name): each
        for each in _rows(key.related_model, using).filter(**{f"{name}__in": wanted})
    }
    pairs = [
        (copy, targets[value])
        for original, copy in zip(originals, copies, strict=True)
        if (value := getattr(original, key.attname)) is not None
    ]
    if pairs:
        made = _copied([target for _, target in pairs], using, depth + 1)
        for (copy, _), target in zip(pairs, made, strict=True):
            setattr(copy, key.attname, getattr(target, key.target_field.attname))


def _fields_to_vary(model: type[models.Model]) -> Iterator[models.Field[Any, Any]]:
    """Yield the fields in which a copy must differ from its original."""
    chosen: dict[str, models.Field[Any, Any]] = {}
    for names in _sets_to_vary(model):
        fields: list[Any] = [model._meta.get_field(name) for name in sorted(names)]
        if any(each.name in chosen or isinstance(each, models.AutoField) for each in fields):
            continue
        able = [each for each in fields if _other(each, None) is not NotImplemented]
        able += [each for each in fields if isinstance(each, models.ForeignKey)]
        if not able:
            raise CannotCopy(f"{', '.join(sorted(names))} must differ, and nothing varies it")
        chosen[able[0].name] = able[0]
    yield from chosen.values()


def _sets_to_vary(model: type[models.Model]) -> Iterator[Iterable[str]]:
    """Yield the names of which one must differ for a row to be taken, under whatever condition.

    What always tells rows apart is less than that; ``nplusone.fixes.write`` has it.
    """
    options = model._meta
    yield from ({each.name} for each in options.local_concrete_fields if each.unique)
    yield from map(set, options.unique_together)
    for each in options.constraints:
        if isinstance(each, UniqueConstraint):
            names = {*each.fields, *_names_in(each.expressions)}
            if names:
                yield names


def _names_in(expressions: Iterable[Any]) -> Iterator[str]:
    for expression in expressions:
        parts: list[Any] = [each for each in expression.flatten() if isinstance(each, F)]
        yield from (each.name for each in parts)


def _other(field: models.Field[Any, Any], value: Any) -> Any:
    """Return a value like ``value`` that no row has; ``NotImplemented`` where none is known.

    Null stays null: any number of rows may have it.
    """
    if isinstance(field, models.AutoField):
        return None
    if isinstance(field, models.UUIDField):
        return uuid4()
    if isinstance(field, models.ForeignKey) or not isinstance(field, _VARIED):
        return NotImplemented
    number = next(_numbers)
    if isinstance(value, str):
        return f"{number}-{value}"[: getattr(field, "max_length", None)]
    if isinstance(value, date):  # A datetime is one.
        return value.replace(year=2200, month=1, day=1) + timedelta(days=number)
    return value if value is None else type(value)(1_000_000 + number)
