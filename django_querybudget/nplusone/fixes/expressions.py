"""Expressions of a suggested line: annotations, and what replaces a loop of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from inspect import getattr_static
from typing import Any

from django.db.models import Model
from django.db.models.manager import BaseManager

from django_querybudget.evidence import Filter, Load, Step
from django_querybudget.evidence.relations import is_plain, quoted
from django_querybudget.nplusone.source.values import Expression

__all__ = [
    "annotation",
    "can_group",
    "conditions_in_python",
    "end_of",
    "every_row",
    "first_of",
    "keywords",
    "manager_of",
    "model_name",
    "put_named",
    "queryset_of",
    "related_manager",
]

_AGGREGATES = {"Avg", "Count", "Max", "Min", "StdDev", "Sum", "Variance"}


def model_name(model: type[Model]) -> str:
    """Return what code calls a model: the table of a many-to-many relation has no name to import.

    It is ``Book.tags.through``.
    """
    made_by: Any = model._meta.auto_created
    for field in made_by._meta.many_to_many if made_by else ():
        if field.remote_field.through is model:
            return f"{made_by.__name__}.{field.name}.through"
    return model.__name__


def manager_of(model: type[Model]) -> str:
    """Return the model's manager as code: whatever the project calls it."""
    manager = model._meta.default_manager
    return f"{model_name(model)}.{'objects' if manager is None else manager.name}"


def queryset_of(model: type[Model], manager: str | None) -> str:
    """Return the start of a queryset as code, with ``manager`` if the source has told it.

    A model of several has no one start: another manager's rows are others.
    """
    if manager is not None:
        return f"{model_name(model)}.{manager}"
    return f"<{model.__name__} queryset>" if len(model._meta.managers) > 1 else manager_of(model)


def every_row(model: type[Model]) -> str:
    """Return what saves, deletes and follows a foreign key, whichever rows a manager leaves out."""
    several = len(model._meta.managers) > 1
    return f"{model.__name__}._base_manager" if several else manager_of(model)


def related_manager(model: type[Model], manager: str | None) -> str:
    """Return the manager that a relation's queryset is of: the default one, unless it is asked."""
    return manager_of(model) if manager is None else f"{model.__name__}.{manager}"


def put_named(
    lines: list[str],
    name: str,
    write: Callable[[str], str],
    model: type[Model],
    taken: Collection[str] = (),
) -> str:
    """Add ``write(name)`` to ``lines`` and return the name.

    Two expressions never share one, and none takes an attribute's of ``model`` or one that is
    ``taken``: an error, or another value where it was.
    """
    number, chosen = 1, name
    while (line := write(chosen)) not in lines:
        target = f"to_attr={quoted(chosen)}"
        free = chosen not in taken and getattr_static(model, chosen, None) is None
        if free and not any(each.startswith(f"{chosen}=") or target in each for each in lines):
            lines.append(line)
            break
        number += 1
        chosen = f"{name}_{number}"
    return chosen


def keywords(filters: tuple[Filter, ...] | None, prefix: str = "") -> str | None:
    """Return conditions as keyword arguments; None if they are not known, or no plain code."""
    if filters is None or not all(_is_code(value) for _, value in filters):
        return None
    return ", ".join(f"{prefix}{lookup}={_literal(value)}" for lookup, value in filters)


def _is_code(value: object) -> bool:
    return type(value) is Expression or is_plain(value)


def _literal(value: object) -> str:
    if isinstance(value, Expression):
        return value.text
    return quoted(value) if type(value) is str else repr(value)


def conditions_in_python(filters: tuple[Filter, ...] | None, name: str) -> str | None:
    if filters is None:
        return None
    conditions = []
    for lookup, value in filters:
        if "__" in lookup or not is_plain(value):
            return None
        conditions.append(f"{name}.{lookup} == {_literal(value)}")
    return " and ".join(conditions)


def annotation(load: Load, path: tuple[Step, ...], *, groups: bool) -> tuple[str, str] | None:
    """Return the annotation's name and code that answers a related query for all rows at once.

    ``groups`` is whether their queryset can be grouped by row, which a ``Count()`` does: else the
    count is a subquery's.
    """
    if load.step is None or set(load.refinements) - {"order_by"}:
        return None
    prefix = "__".join(step.lookup for step in path)
    before = f"{prefix.replace('__', '_')}_" if prefix else ""
    relation = f"{prefix}__{load.step.lookup}" if prefix else load.step.lookup
    outer = f"OuterRef({quoted(prefix or 'pk')})"
    accessor = load.step.accessor
    if load.operation == "count":
        condition = keywords(load.filters, f"{relation}__")
        if condition is None or load.filters is None:
            return None
        suffix = "".join(
            f"_{value}"
            for _, value in load.filters
            if type(value) is not Expression and str(value).isidentifier()
        )
        name = f"{before}{accessor}{suffix}_count"
        if not groups:
            rows = _rows(load, outer)
            return None if rows is None else (name, _counted(rows, load.step.field))
        only = f", filter=Q({condition})" if condition else ""
        return name, f"Count({quoted(relation)}{only}, distinct=True)"
    rows = _rows(load, outer)
    if rows is None:
        return None
    if load.operation == "exists":
        return f"{before}has_{accessor}", f"Exists({rows})"
    if load.aggregate is None or load.aggregate.function not in _AGGREGATES:
        return None
    _, function, column = load.aggregate
    by = quoted(load.step.field)
    value = f"value={function}({quoted(column)})"
    code = f'Subquery({rows}.order_by().values({by}).annotate({value}).values("value"))'
    return f"{before}{accessor}_{function.lower()}_{column}", code


def can_group(model: type[Model], query: Any = None) -> bool:
    """Whether a ``Count()`` beside what ``query`` has leaves all of it as it is.

    It groups, and Django drops ``Meta.ordering`` where it groups; it joins, which multiplies what
    another aggregate counts and is cut down by a filter of the same relation; and no row can be
    locked in a group. Without a query it is the default manager's.
    """
    if model._meta.ordering:
        return False
    if query is None:
        return type(model._default_manager).get_queryset is BaseManager.get_queryset
    joins = (getattr(each, "join_field", None) for each in query.alias_map.values())
    return not (
        query.annotations
        or query.distinct
        or query.select_for_update
        or any(join is not None and getattr(join, "one_to_many", True) for join in joins)
    )


def _rows(load: Load, outer: str) -> str | None:
    """Return the related rows of an outer query's row, as code."""
    condition = keywords(load.filters)
    if condition is None or load.model is None or load.step is None or not load.step.field:
        return None
    rest = f", {condition}" if condition else ""
    start = related_manager(load.model, load.manager)
    return f"{start}.filter({load.step.field}={outer}{rest})"


def _counted(rows: str, by: str) -> str:
    number = f'{rows}.order_by().values({quoted(by)}).annotate(value=Count("pk")).values("value")'
    return f"Coalesce(Subquery({number}), 0)"


def end_of(rows: str, load: Load) -> str | None:
    """Return how to read the row of prefetched ``rows`` that ``first()`` or ``last()`` returns.

    None where the method reads the prefetch itself.
    """
    is_ordered = load.model is not None and bool(load.model._meta.ordering)
    if load.operation in ("first", "last") and not is_ordered:
        # Both order by the primary key then; what was prefetched is in no order.
        choose = "min" if load.operation == "first" else "max"
        return f"{choose}({rows}, key=lambda each: each.pk, default=None)"
    return f"next(reversed({rows}), None)" if load.operation == "last" else None


def first_of(load: Load) -> str | None:
    """Return what makes a queryset the one row that its ``first()`` returns, as code."""
    if load.chain is None or "[" in load.chain or load.model is None:
        return None
    by_key = not load.chain and not load.model._meta.ordering
    order = '.order_by("pk")' if by_key else ""
    return f"{load.chain}{order}[:1]"
