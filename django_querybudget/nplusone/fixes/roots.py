"""From a loop back to the queryset that should have loaded its rows: :func:`find_root`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from django_querybudget.evidence import (
    Evidence,
    Load,
    LoadKind,
    PlaceKey,
    Provenance,
    Source,
    Step,
    place_key,
)
from django_querybudget.evidence.hops import ways
from django_querybudget.nplusone.source.calls import find_queryset
from django_querybudget.nplusone.source.managers import manager_asked
from django_querybudget.stacks import Origin, RawOrigin, origins_along

__all__ = ["Root", "find_root"]

_WALKED = (LoadKind.TO_ONE, LoadKind.TO_MANY, LoadKind.GENERIC)


@dataclass(frozen=True, kw_only=True)
class Root:
    """A queryset, and the way from its rows to the instance that a loop reads from."""

    model: type[Model]
    path: tuple[Step, ...]
    key: PlaceKey | None = None
    """The query's; None if it is only known which model it must be of."""
    origin: RawOrigin | None = None
    source: Source | None = field(default=None, compare=False)
    way: tuple[RawOrigin, ...] = field(default=(), compare=False)
    """The project's lines that led to the loop over its rows, the nearest first."""
    runs: int = field(default=1, compare=False)
    """How often it was evaluated: each time costs the queries of its prefetches again."""

    @property
    def is_raw(self) -> bool:
        """Whether it is SQL of the project's: it can prefetch, and nothing else."""
        return self.source is not None and not hasattr(self.source.query, "where")

    @property
    def is_combined(self) -> bool:
        """Whether it is a ``union()`` or the like, which takes no more methods."""
        return self.source is not None and bool(getattr(self.source.query, "combinator", None))

    @property
    def lookups(self) -> tuple[Any, ...]:
        """What it prefetches already."""
        return () if self.source is None else self.source.lookups

    def prefetch_cost(self, rows: int) -> int:
        """Return how many queries one more prefetch of ``rows`` runs: one for each chunk."""
        chunk = None if self.source is None else self.source.chunk_size
        return self.runs if chunk is None else max(self.runs, -(-rows // chunk))

    @property
    def place(self) -> Origin | None:
        """The line that evaluates the queryset."""
        return None if self.origin is None else Origin.of(self.origin)

    @property
    def callers(self) -> list[Origin]:
        """The calls around the loop over its rows, the nearest first."""
        found = [Origin.of(each) for each in self.way]
        return [each for each in found if each is not None and each != self.place]

    @property
    def calls(self) -> list[Origin]:
        """The calls that led to that line, the nearest first."""
        record = None if self.source is None else self.source.record
        if record is None or record.origin is None or record.trail is None:
            return []
        same = self.key == place_key(record.sql, record.origin)
        return origins_along(record.trail)[1:] if same else []


def find_root(evidence: Evidence, load: Load) -> Root | None:
    """Return the queryset to change; None if no queryset would load all of it.

    An instance that was itself loaded row by row leads on to where *that* loop's rows came from:
    this is how ``application.job.client`` becomes one line.
    """
    path: tuple[Step, ...] = ()
    walked = [load]
    while (provenance := load.provenance) is not None:
        path = (*provenance.path, *path)
        above = _loop_above(evidence, provenance)
        if above is None or above.step is None or not _is_walked(above, provenance):
            source = evidence.sources.get(provenance.sql)
            if source is None:
                break
            if source.is_of_package:
                return None
            key = place_key(provenance.sql, provenance.origin)
            same = evidence.texts.get(provenance.sql, ())
            runs = sum(
                raw.origin is not None and place_key(raw.sql, raw.origin) == key for raw in same
            )
            return Root(
                model=source.model,
                path=path,
                key=key,
                origin=provenance.origin,
                source=source,
                way=walked[0].way,
                runs=max(runs, 1),
            )
        if any(above is each for each in walked):
            return None  # Up or down a tree, one level a query: no number of joins is enough.
        walked.append(above)
        load, path = above, (above.step, *path)
    return _root_of_model(evidence, load.owner, path)


def _root_of_model(
    evidence: Evidence, model: type[Model] | None, path: tuple[Step, ...]
) -> Root | None:
    """Return the model's queryset, wherever it is; None if loops alone load rows of it."""
    if model is None:
        return None
    if any(path for each in evidence.sources.values() for _, path in ways(evidence, each, model)):
        return None  # Joined or prefetched rows may be meant: whose queryset is to be changed?
    in_loops = {key.place.sql for key in evidence.loads}
    asked = any(
        sql not in in_loops
        and source.model._meta.concrete_model is model._meta.concrete_model
        and not source.is_refresh
        for sql, source in evidence.sources.items()
    )
    return Root(model=model, path=path) if asked else None


def _loop_above(evidence: Evidence, provenance: Provenance) -> Load | None:
    """Return what the loop loads that an instance came from, if it came from one."""
    if provenance.loop is not None:
        return evidence.loads.get(provenance.loop)
    place = place_key(provenance.sql, provenance.origin)
    found = [load for key, load in evidence.loads.items() if key.place == place]
    return found[0] if len(found) == 1 else None


def _is_walked(load: Load, provenance: Provenance) -> bool:
    """Whether the loop is a relation that the fix of its own queryset will load."""
    accessor = "" if load.step is None else load.step.accessor
    return (
        load.kind in _WALKED
        and load.step is not None
        and not load.refinements
        and load.filters == ()
        and load.operation in ("get", "all")
        and (
            load.kind is not LoadKind.TO_MANY
            or manager_asked(load, find_queryset(provenance.origin, accessor)) is None
        )
    )
