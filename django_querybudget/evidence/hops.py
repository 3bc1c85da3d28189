"""Along which relations the rows of a queryset lead to instances of another model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.db.models.constants import LOOKUP_SEP

from .loads import Step
from .relations import step_of

if TYPE_CHECKING:
    from .noting import Evidence
    from .sources import Source

__all__ = ["relations_of", "step_to", "steps_along", "ways"]


def ways(
    evidence: Evidence, source: Source, model: type[Model]
) -> Iterator[tuple[Source, tuple[Step, ...]]]:
    """Yield how rows of ``source`` lead to instances of ``model``, and from which queryset."""
    own = source.model
    root = source
    prefix: tuple[Step, ...] = ()
    if source.prefetch_to is not None and not source.has_own_place:
        parent = next(
            (each for each in evidence.sources.values() if each.query is source.parent_query), None
        )
        if parent is not None:
            steps = steps_along(parent.model, source.prefetch_to)
            if steps is not None:
                root, prefix = parent, steps
    if own._meta.concrete_model is model._meta.concrete_model:
        yield root, prefix
    selected = getattr(source.query, "select_related", False)
    if isinstance(selected, dict):
        for path, end in _joined(own, selected):
            if end._meta.concrete_model is model._meta.concrete_model:
                yield root, (*prefix, *path)


def _joined(
    model: type[Model], selected: dict[str, Any]
) -> Iterator[tuple[tuple[Step, ...], type[Model]]]:
    for name, deeper in selected.items():
        found = next((each for each in relations_of(model) if each[0].lookup == name), None)
        if found is not None:
            step, related, _ = found
            yield (step,), related
            for path, end in _joined(related, deeper):
                yield (step, *path), end


def relations_of(model: type[Model]) -> Iterator[tuple[Step, type[Model], str]]:
    """Yield each relation as a hop, with the model it leads to and its name in the cache."""
    for field in (*model._meta.get_fields(), *model._meta.private_fields):
        related: Any = getattr(field, "related_model", None)
        generic = field.is_relation and related is None
        if generic or (
            field.is_relation and isinstance(related, type) and not getattr(field, "hidden", False)
        ):
            yield step_of(field, model), related or model, getattr(field, "cache_name", field.name)


def steps_along(model: type[Model], lookup: str) -> tuple[Step, ...] | None:
    """Return the hops of a prefetch lookup; None if one is no relation (a ``to_attr``)."""
    steps: list[Step] = []
    for name in lookup.split(LOOKUP_SEP):
        found = next((each for each in relations_of(model) if each[0].accessor == name), None)
        if found is None:
            return None
        steps.append(found[0])
        model = found[1]
    return tuple(steps)


def step_to(model: type[Model], name: str) -> Step | None:
    return next((step for step, _, cache in relations_of(model) if cache == name), None)
