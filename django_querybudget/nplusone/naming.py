"""What a loop is called: its cause, and the names of its relation."""

from __future__ import annotations

from django_querybudget.evidence import Load, LoadKind
from django_querybudget.nplusone.fixes.expressions import model_name

from .findings import Cause

__all__ = ["cause_of", "labels_of"]

_CAUSES = {
    LoadKind.TO_ONE: Cause.RELATION,
    LoadKind.TO_MANY: Cause.RELATION,
    LoadKind.GENERIC: Cause.RELATION,
    LoadKind.DEFERRED: Cause.DEFERRED,
    LoadKind.PREFETCH: Cause.PREFETCH,
    LoadKind.LOOKUP: Cause.LOOKUP,
    LoadKind.RAW: Cause.LOOKUP,
    LoadKind.WRITE: Cause.WRITE,
}


def cause_of(load: Load) -> Cause:
    if load.kind is LoadKind.TO_MANY:
        if load.prefetched:
            return Cause.BYPASSED_PREFETCH
        if load.operation not in ("all", "iterator") or load.filters != () or load.refinements:
            return Cause.RELATED_QUERY
    return _CAUSES[load.kind]


def labels_of(load: Load | None, *, short: bool = False) -> list[str]:
    """Return the relation's names for people and for the allowlist."""
    if load is None:
        return []
    model = load.owner or load.model
    if model is None:
        return []
    name = load.step.accessor if load.step is not None else load.name
    # Of a many-to-many relation's table "Book.tags.through", and Django's name of it.
    labels = [
        f"{each}.{name}" if name else each
        for each in dict.fromkeys((model_name(model), model.__name__))
    ]
    if short:
        return labels[:1]
    return [*labels, *(f"{model._meta.app_label}.{label}" for label in labels)]
