"""What an answer depends on that the routers choose, where they choose by more than the model.

A router may answer by a tenant or a replica that a middleware keeps for the thread: nothing of that
is in a request or in a queryset. So an answer notes which database the routers chose for each model
that was read where they said, and is a miss where they would choose another one now.

What counts is what they chose *before* the answer was made: code in it may turn to another tenant,
and back. For a model that was not known to be read, it is taken for what they choose when all is
done, if that is what they chose when it was read; if not, the answer is not stored, and the model
is known from then on. Routers are asked without hints, as for a queryset of the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache

from django.apps import apps
from django.db import connections, router
from django.db.models import Model

from django_querybudget.cache import tags
from django_querybudget.cache.tables import Tables, tables

__all__ = ["Rerouted", "Routes", "aliases_for", "same_routes"]


class Rerouted(Exception):
    """It is not known what the routers chose before; the message is why nothing is stored."""


class Routes:
    """What the routers choose for what one fill reads.

    ``expected`` are tags that it is known to depend on: their models are asked for at once.
    """

    def __init__(self, expected: Iterable[str]) -> None:
        self._before = _databases(_models_in(expected))
        self._when_read: dict[str, str] = {}
        self._is_asking = False

    def note(self, found: Iterable[str], alias: str) -> None:
        """A statement is about to be sent to ``alias``; ``found`` are the tags of what it reads."""
        if self._is_asking:
            return  # a router's own
        database = tags.database_name(alias)
        self._is_asking = True
        try:
            for label, chosen in _databases(_models_in(found)).items():
                # Else the code says the database, or a row that it has come from.
                if chosen == database:
                    self._noted(label, chosen)
        finally:
            self._is_asking = False

    def absorb(self, labels: Collection[str]) -> None:
        """An answer inside of this one depends on what the routers choose for these models."""
        for label, chosen in _databases(_models_of(labels)).items():
            self._noted(label, chosen)

    def _noted(self, label: str, database: str) -> None:
        if self._when_read.setdefault(label, database) != database:
            self._when_read[label] = ""  # by turns

    @property
    def labels(self) -> frozenset[str]:
        """The models that were read where the routers said."""
        return frozenset(self._when_read)

    def before(self) -> dict[str, str]:
        """Return the database that was chosen for each of them. Raises :class:`Rerouted`."""
        now = _databases(_models_of(self._when_read))
        for label, when_read in self._when_read.items():
            if label in self._before:
                now[label] = self._before[label]
            elif now.get(label) != when_read:
                raise Rerouted(f"the database of {label} was changed meanwhile")
        return now


def aliases_for(labels: Iterable[str]) -> set[str]:
    """Return the aliases that the routers choose now for the models of these labels."""
    return {alias for _, alias in _chosen(_models_of(labels))}


def same_routes(before: Mapping[str, str] | None) -> bool:
    """Whether the routers would choose the same databases now; not where none was asked then."""
    return before is not None and _databases(_models_of(before)) == before


def _models_of(labels: Iterable[str]) -> Iterator[type[Model]]:
    for label in labels:
        with suppress(LookupError):  # one that is gone by now
            yield apps.get_model(label)


def _models_in(found: Iterable[str]) -> Iterator[type[Model]]:
    of = _models_by_table(tables())
    for table in {tags.parsed(tag).name for tag in found}:
        yield from of.get(table, ())


@lru_cache(maxsize=1)
def _models_by_table(known: Tables) -> Mapping[str, list[type[Model]]]:
    """Return the models by table; ``known`` are another object when there are others."""
    del known
    found: dict[str, list[type[Model]]] = {}
    for model in apps.get_models(include_auto_created=True):
        found.setdefault(model._meta.db_table, []).append(model)
    return found


def _databases(models: Iterable[type[Model]]) -> dict[str, str]:
    return {label: tags.database_name(alias) for label, alias in _chosen(models)}


def _chosen(models: Iterable[type[Model]]) -> Iterator[tuple[str, str]]:
    for model in models:
        # Whatever a router raises where there is no tenant, say: the host meets it, too.
        with suppress(Exception):
            if (alias := router.db_for_read(model)) in connections:
                yield model._meta.label_lower, alias
