"""Rows as the database sent them, noted while Django makes instances of them.

A model whose own code makes its instances (``__init__``, ``from_db``, a receiver of ``post_init``,
a descriptor that changes what is set) may change a value. To change it again on a hit would be
wrong, and so would be to keep what depended on the moment. Hence the cache keeps what that code was
given, and lets it run again on a hit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, Prefetch
from django.db.models.query import ModelIterable

from .attributes import Received
from .models import is_plain_model
from .values import copied

__all__ = ["noting"]


class Notes(dict[int, Received]):
    """What was received, by the ``id()`` of the instance made of it."""

    is_open = True


@contextmanager
def noting(queryset: Any) -> Iterator[Notes]:
    """Note the rows that ``queryset`` fetches in a block, and those of its ``Prefetch`` objects."""
    received = Notes()
    before = queryset._iterable_class, queryset._prefetch_related_lookups
    _note(queryset, received)
    try:
        yield received
    finally:
        received.is_open = False  # what streams on is not kept
        queryset._iterable_class, queryset._prefetch_related_lookups = before


def _note(queryset: Any, received: Notes) -> None:
    """Let what ``queryset`` fetches be noted."""
    # Whatever is joined may be a model with code of its own: that is known once it is compiled.
    if queryset._iterable_class is ModelIterable and not (
        is_plain_model(queryset.model) and not queryset.query.select_related
    ):

        def noted(asked: object, **options: object) -> _Noting:
            return _Noting(asked, received, options)

        queryset._iterable_class = noted
    queryset._prefetch_related_lookups = tuple(
        _NotingPrefetch.of(each, received) if _has_queryset(each) else each
        for each in queryset._prefetch_related_lookups
    )


def _has_queryset(lookup: object) -> bool:
    """Whether the rows of a lookup come from a queryset that is at hand, and from the database.

    Those of a lookup by name come from one that a manager makes.
    """
    return (
        type(lookup) is Prefetch
        and lookup.queryset is not None
        and getattr(lookup.queryset, "_querybudget_options", None) is None
    )


class _NotingPrefetch(Prefetch):  # type: ignore[type-arg]  # generic in the stubs only
    """A lookup whose rows are noted; its ``queryset`` stays the host's, and on the instances."""

    _received: Notes

    @classmethod
    def of(cls, lookup: object, received: Notes) -> _NotingPrefetch:
        """Return a lookup like ``lookup``."""
        made = cls.__new__(cls)
        made.__dict__.update(lookup.__dict__, _received=received)
        return made

    def get_current_querysets(self, level: int) -> Any:
        found: Any = super().get_current_querysets(level)
        if found is None:
            return None
        noted = [each._chain() for each in found]
        for each in noted:
            _note(each, self._received)
        return noted


class _WithQuery:
    """A queryset with another query."""

    def __init__(self, queryset: object, query: object) -> None:
        self._queryset = queryset
        self.query = query

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queryset, name)


class _Noting(ModelIterable):  # type: ignore[type-arg]  # generic in the stubs only
    """Yields the instances that Django makes, and notes what it made them of."""

    def __init__(self, queryset: Any, received: Notes, options: Mapping[str, Any]) -> None:
        super().__init__(queryset, **options)
        self.queryset: Any
        self._received = received

    def __iter__(self) -> Iterator[Any]:
        # Methods of these two objects alone are replaced.
        query: Any = self.queryset.query.clone()
        compilers: list[Any] = []
        rows: list[Any] = []

        def get_compiler(*args: object, **kwargs: object) -> Any:
            compiler = type(query).get_compiler(query, *args, **kwargs)
            results_iter = compiler.results_iter

            def noted_results(*args: object, **kwargs: object) -> Any:
                results = results_iter(*args, **kwargs)
                if all(map(is_plain_model, _models(compiler.klass_info))):
                    return results
                compilers.append(compiler)
                return self._noted(results, rows)

            compiler.results_iter = noted_results
            return compiler

        query.get_compiler = get_compiler
        self.queryset = _WithQuery(self.queryset, query)
        source = None
        for instance in super().__iter__():
            if rows:
                source = source or _layout_of(compilers[0].klass_info, compilers[0])
                source.note(instance, rows.pop(), self._received)
            yield instance

    def _noted(self, results: Any, rows: list[Any]) -> Iterator[Any]:
        for row in results:
            if self._received.is_open:
                # The host's code may change a list in place.
                rows.append([copied(value) for value in row])
            yield row


def _models(info: Mapping[str, Any]) -> Iterator[type[Model]]:
    yield info["model"]
    for each in info.get("related_klass_infos", ()):
        yield from _models(each)


@dataclass(frozen=True, slots=True)
class _RowLayout:
    """Where in a row the values of an instance are, and where those that hang on it."""

    fields: tuple[str, ...]
    places: tuple[int, ...]
    names: tuple[str, ...]
    related: Sequence[tuple[Callable[..., Model | None], _RowLayout]]

    def note(self, instance: Model, row: Sequence[Any], received: Notes) -> None:
        received[id(instance)] = Received(
            instance, self.fields, self.names, [row[place] for place in self.places]
        )
        for get, source in self.related:
            other = get(instance, default=None)
            if other is not None:
                source.note(other, row, received)


def _layout_of(info: Mapping[str, Any], compiler: Any, *, is_root: bool = True) -> _RowLayout:
    places = list(info["select_fields"])
    if is_root or not info["from_parent"]:
        places = list(range(places[0], places[-1] + 1))
    by_name = {compiler.select[place][0].target.attname: place for place in places}
    if not is_root and info["from_parent"]:
        order = [each.attname for each in info["model"]._meta.concrete_fields]
        by_name = {name: by_name[name] for name in order if name in by_name}
    annotations = (compiler.annotation_col_map or {}) if is_root else {}
    return _RowLayout(
        tuple(by_name),
        (*by_name.values(), *annotations.values()),
        tuple(annotations),
        [
            (
                (each["field"].remote_field if each["reverse"] else each["field"]).get_cached_value,
                _layout_of(each, compiler, is_root=False),
            )
            for each in info.get("related_klass_infos", ())
        ],
    )
