"""The eager loading that a suggested line asks for, as code: :class:`Lookups`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from django_querybudget.evidence import Step
from django_querybudget.evidence.relations import quoted

from .expressions import every_row

__all__ = ["Lookups", "Nested", "name_of"]


@dataclass
class Nested:
    """The queryset of a :class:`~django.db.models.Prefetch`."""

    manager: str
    lookup: str
    """The way to it for ``select_related()``; empty behind a relation of many rows."""
    annotated: list[str] = field(default_factory=list)


@dataclass
class Lookups:
    """What a queryset is to join and to prefetch, beside what it does already."""

    present: tuple[Any, ...] = ()
    """The lookups that its ``prefetch_related()`` has: names, and ``Prefetch`` objects."""
    selected: list[str] = field(default_factory=list)
    prefetched: list[str] = field(default_factory=list)
    nested: dict[str, Nested] = field(default_factory=dict)
    """The querysets of prefetched models that are annotated, by lookup."""
    generic: dict[str, dict[type[Model], Lookups]] = field(default_factory=dict)
    """What each model at the other end of a generic foreign key is to load, by lookup."""
    chosen: dict[str, Lookups] = field(default_factory=dict)
    """What the rows of a ``Prefetch(..., to_attr=...)`` are to load themselves, by that name."""

    def join(self, path: tuple[Step, ...]) -> None:
        """Ask for a relation by ``select_related()``."""
        _put(self.selected, "__".join(step.lookup for step in path))

    def has(self, path: tuple[Step, ...]) -> bool:
        """Whether a relation is prefetched already, by what is there or what was asked for."""
        name = name_of(path)
        return name in self.present or quoted(name) in self.prefetched

    def prefetch(self, path: tuple[Step, ...]) -> None:
        """Ask for a relation by ``prefetch_related()``."""
        _put(self.prefetched, quoted(name_of(path)))

    def behind_generic(self, path: tuple[Step, ...]) -> tuple[Lookups, tuple[Step, ...]] | None:
        """Return the lookups of the model behind a generic foreign key, and the rest of the way.

        ``path`` leads through one: a plain lookup would be asked of every model at its other end,
        and raise at the first that lacks it. None where a ``Prefetch`` that is there is in the way.
        """
        end = next(number for number, step in enumerate(path) if step.generic) + 1
        key, rest = name_of(path[:end]), path[end:]
        model = rest[0].owner
        if model is None or not self.can_nest(key):
            return None
        models = self.generic.setdefault(key, {})
        return models.setdefault(model._meta.concrete_model or model, Lookups()), rest

    def can_nest(self, key: str) -> bool:
        """Whether a ``Prefetch`` of ``key`` can take the place of what is there.

        Two for one relation are an error, and so is one after a plain lookup that leads through it.
        A name can be written after it; a ``Prefetch`` that is there is not ours to rewrite.
        """
        return not any(
            _below(getattr(each, "prefetch_to", ""), key)
            for each in self.present
            if not isinstance(each, str)
        )

    @property
    def prefetches(self) -> bool:
        """Whether anything is to be prefetched."""
        return bool(self.prefetched or self.nested or self.generic)

    @property
    def attributes(self) -> set[str]:
        """The attributes that prefetches are put into already: each ``to_attr``."""
        names = (getattr(each, "to_attr", None) for each in self.present)
        return {name for name in names if name}

    @property
    def replaced(self) -> tuple[str, ...]:
        """The names that ``prefetch_related()`` has and that are written anew, in another order."""
        return tuple(
            quoted(each)
            for each in self.present
            if isinstance(each, str)
            and any(_below(each, key) for key in (*self.nested, *self.generic))
        )

    def code(self) -> str:
        """Return the calls to write after the manager."""
        selected, prefetched = self._selected(), list(self._prefetches())
        code = f".select_related({', '.join(map(quoted, selected))})" if selected else ""
        return f"{code}.prefetch_related({', '.join(prefetched)})" if prefetched else code

    def joined(self) -> list[str]:
        """Return the names to give to ``select_related()``."""
        return self._selected()

    def _selected(self) -> list[str]:
        """Return the longest lookups to join, without those that are prefetched."""
        behind = [each.lookup for each in self.nested.values() if each.lookup]
        left = [name for name in self.selected if not any(_below(name, each) for each in behind)]
        left += [each.rpartition("__")[0] for each in behind if "__" in each]
        return _longest(left)

    def _prefetches(self) -> Iterator[str]:
        for key, nested in sorted(self.nested.items(), key=lambda item: item[0].count("__")):
            yield f"Prefetch({quoted(key)}, queryset={self._queryset(nested)})"
        for key, models in self.generic.items():
            querysets = (f"{every_row(model)}{each.code()}" for model, each in models.items())
            yield f"GenericPrefetch({quoted(key)}, [{', '.join(querysets)}])"
        plain = list(dict.fromkeys([*self.replaced, *self.prefetched]))
        for each in plain:
            deeper = f"{each.removesuffix(chr(34))}__"
            if each.strip('"') not in (*self.nested, *self.generic) and not any(
                other.startswith(deeper) for other in plain
            ):
                yield self._with_chosen(each)

    def _with_chosen(self, written: str) -> str:
        for name, lookups in self.chosen.items():
            end = f", to_attr={quoted(name)})"
            if written.endswith(end):
                return f"{written.removesuffix(end)}{lookups.code()}{end}"
        return written

    def _queryset(self, nested: Nested) -> str:
        start = f"{nested.lookup}__"
        joined = [
            name.removeprefix(start)
            for name in self.selected
            if nested.lookup and name.startswith(start)
        ]
        code = f".select_related({', '.join(map(quoted, _longest(joined)))})" if joined else ""
        return f"{nested.manager}{code}.annotate({', '.join(nested.annotated)})"


def name_of(path: tuple[Step, ...]) -> str:
    """Return the lookup that ``prefetch_related()`` takes for a path."""
    return "__".join(step.accessor for step in path)


def _put(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _longest(names: list[str]) -> list[str]:
    """Return the lookups that are no part of another one, each once."""
    chosen = [name for name in names if not any(other.startswith(f"{name}__") for other in names)]
    return list(dict.fromkeys(chosen))


def _below(name: str, lookup: str) -> bool:
    return name == lookup or name.startswith(f"{lookup}__")
