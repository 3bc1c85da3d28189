"""From a documented set to the ``models.Index`` objects of one host model.

:func:`add_documented_indexes` is called when the host's class is prepared. It never raises: what is
wrong with a host is kept as a problem, and :mod:`django_querybudget.indexes.checks` reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from django.db import models

from django_querybudget.indexes.definitions import (
    IndexDefinition,
    IndexOrigin,
    declared_indexes,
    index_definition,
)
from django_querybudget.indexes.redundancy import Redundancy, covers_equally, find_redundant

if TYPE_CHECKING:
    from .mixins import IndexMixin

IndexSpec: TypeAlias = str | Sequence[str] | models.Index


@dataclass(frozen=True, kw_only=True)
class IndexProblem:
    """Something wrong with a host's index set."""

    code: str
    """The id of the system check that reports it."""
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What a set came to on one host model."""

    added: tuple[models.Index, ...] = ()
    """The indexes that the receiver added to the model."""
    left_out: tuple[Redundancy, ...] = ()
    """Redundant ones that ``index_skip_redundant`` left out."""
    problems: tuple[IndexProblem, ...] = ()


_resolutions: WeakKeyDictionary[type[models.Model], Resolution] = WeakKeyDictionary()


def resolution_of(model: type[models.Model]) -> Resolution:
    """Return what the receiver did for ``model``; empty for a model without a set."""
    return _resolutions.get(model, Resolution())


def add_documented_indexes(model: type[models.Model]) -> None:
    """Add the indexes of a host's set to its ``Meta.indexes``, as if they were written there.

    Nothing happens where ``model`` has no table of its own that Django manages.
    """
    if not _is_host(model):
        return
    resolution = resolve(model)
    _resolutions[model] = resolution
    if resolution.added:
        opts = model._meta
        # A new list: the host's own may belong to a Meta that other models share. Migrations
        # read original_attrs, and would not see an index that stands in opts.indexes alone.
        opts.indexes = [*opts.indexes, *resolution.added]
        opts.original_attrs["indexes"] = opts.indexes


def _is_host(model: type[models.Model]) -> bool:
    """Return whether ``model`` carries a set for a table of its own that Django manages."""
    if model.__module__ == "__fake__":
        return False
    opts = model._meta
    if opts.abstract or opts.proxy or not opts.managed or opts.swapped:
        return False
    # A multi-table child inherits the set, but the columns are on the parent's table.
    inherited = [parent for parent in opts.parents if hasattr(parent, "documented_indexes")]
    return not inherited and any(_sets(model))


def _sets(model: type[models.Model]) -> Iterator[type[IndexMixin]]:
    """Yield the sets that apply: each class with one, unless a subclass of it overrides it."""
    taken: list[type[Any]] = []
    for base in model.__mro__:
        if "documented_indexes" in vars(base) and not any(issubclass(t, base) for t in taken):
            taken.append(base)
            yield base


def resolve(model: type[models.Model]) -> Resolution:
    """Return the indexes that the sets of ``model`` add to those that it declares itself.

    Pure: changes nothing on the model.
    """
    return _Resolver(model).resolve()


class _Resolver:
    def __init__(self, model: type[models.Model]) -> None:
        self.model = model
        self.label = model._meta.label
        self.problems: list[IndexProblem] = []
        self.documented: set[str] = set()
        self.attnames = _attnames(model)
        self.renamed = self._renamed()

    def resolve(self) -> Resolution:
        specs = [spec for base in _sets(self.model) for spec in self._specs(base)]
        declared = declared_indexes(self.model)
        own = [
            item for item in declared if item.origin in {IndexOrigin.INDEX, IndexOrigin.DB_INDEX}
        ]
        candidates: list[tuple[models.Index, IndexDefinition | None]] = []
        for spec in specs:
            index = self._index(spec)
            if index is None:
                continue
            definition = index_definition(self.model, index)
            if definition is not None:
                if any(covers_equally(kept, definition) for kept in own):
                    continue
                own.append(definition)
            candidates.append((index, definition))
        self._check_keys()
        added = [index for index, _ in candidates]
        left_out: list[Redundancy] = []
        if getattr(self.model, "index_skip_redundant", False):
            ours = {id(definition) for _, definition in candidates}
            everything = declared + [d for _, d in candidates if d is not None]
            left_out = [r for r in find_redundant(everything) if id(r.index) in ours]
            gone = {id(redundancy.index) for redundancy in left_out}
            added = [index for index, definition in candidates if id(definition) not in gone]
        return Resolution(
            added=tuple(added), left_out=tuple(left_out), problems=tuple(self.problems)
        )

    def _problem(self, code: str, message: str, hint: str) -> None:
        self.problems.append(IndexProblem(code=code, message=message, hint=hint))

    def _renamed(self) -> Mapping[str, str | None]:
        renamed = getattr(self.model, "index_columns", {})
        if isinstance(renamed, Mapping) and all(
            isinstance(key, str) and (value is None or isinstance(value, str))
            for key, value in renamed.items()
        ):
            return renamed
        self._problem(
            "querybudget.E032",
            f"{self.label}.index_columns is {renamed!r}.",
            'It takes a dict of a documented column to the model\'s own, {"payer_id": '
            '"buyer_id"}, or to None, which leaves out the indexes that need it.',
        )
        return {}

    def _specs(self, base: type[IndexMixin]) -> list[IndexSpec]:
        specs = vars(base)["documented_indexes"]
        if isinstance(specs, list | tuple):
            return list(specs)
        self._bad_spec(specs, f"{base.__name__}.documented_indexes")
        return []

    def _bad_spec(self, value: object, where: str, reason: str = "") -> None:
        self._problem(
            "querybudget.E033",
            f"{where} of {self.label} is {value!r}{reason}.",
            "It takes a tuple whose entries are each a column's name, a tuple of names, or a "
            "models.Index.",
        )

    def _index(self, spec: IndexSpec) -> models.Index | None:
        """Return the index of ``spec`` on this model; None where it cannot be or is left out."""
        template = spec if isinstance(spec, models.Index) else None
        names: object = spec
        if template is not None:
            names = template.fields
        elif isinstance(spec, str):
            names = [spec]
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            self._bad_spec(spec, "An entry of documented_indexes")
            return None
        include = template.include if template is not None else ()
        fields = self._own_names([*names, *include])
        if fields is None:
            return None
        try:
            return self._build(template, fields[: len(names)], tuple(fields[len(names) :]))
        except (ValueError, TypeError, KeyError) as error:
            self._bad_spec(spec, "An entry of documented_indexes", f" ({error})")
            return None

    def _build(
        self, template: models.Index | None, fields: list[str], include: tuple[str, ...]
    ) -> models.Index:
        if template is None:
            index = models.Index(fields=fields)
        else:
            _, expressions, kwargs = template.deconstruct()
            # Django fills in these two in the names of an abstract model's indexes.
            kwargs["name"] = kwargs["name"] % {
                "app_label": self.model._meta.app_label.lower(),
                "class": self.model.__name__.lower(),
            }
            if fields:
                kwargs["fields"] = fields
            if include:
                kwargs["include"] = include
            index = type(template)(*expressions, **kwargs)
        if not index.name:
            index.set_name_with_model(self.model)
        return index

    def _own_names(self, names: list[str]) -> list[str] | None:
        """Return the model's names of the documented columns, in the order given."""
        own: list[str] = []
        missing: dict[str, str] = {}
        for name in names:
            column = name.removeprefix("-")
            self.documented.add(column)
            target = self.renamed.get(column, column)
            if target is None:
                return None
            if target not in self.attnames:
                missing[column] = target
            else:
                own.append(name.replace(column, self.attnames[target]))
        if not missing:
            return own
        first = next(iter(missing))
        self._problem(
            "querybudget.E030",
            f"{self.label} has no column {' and no column '.join(map(repr, missing.values()))}, "
            f"which the documented index ({', '.join(names)}) needs.",
            f"The columns of its table are: {', '.join(sorted(self.attnames))}. Name the model's "
            f"own with index_columns = {{{first!r}: ...}}, or leave the index out with "
            f"index_columns = {{{first!r}: None}}.",
        )
        return None

    def _check_keys(self) -> None:
        for key in self.renamed:
            if key not in self.documented:
                self._problem(
                    "querybudget.E031",
                    f"{self.label}.index_columns has the key {key!r}, which no documented index "
                    f"of this model names.",
                    f"The documented columns are: {', '.join(sorted(self.documented))}.",
                )


def _attnames(model: type[models.Model]) -> dict[str, str]:
    """Return how each column of the model's own table is spelled in ``Index.fields``.

    By attname (``payer_id``), since the autodetector compares spellings: ``payer`` would drop and
    rebuild what ``payer_id`` made. Found by attname, else by the database's column.
    """
    columns = {field.attname: field.column for field in model._meta.local_fields if field.column}
    by_column = {column: attname for attname, column in columns.items()}
    return by_column | {attname: attname for attname in columns}
