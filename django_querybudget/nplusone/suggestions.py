"""The line to write: :class:`Draft` collects what the loops of one queryset need, as code."""

from __future__ import annotations

from dataclasses import dataclass, field

from django_querybudget.attribution import Filter, Load, LoadKind, Step
from django_querybudget.attribution.relations import is_plain, quoted, relation_of, step_of
from django_querybudget.stacks import RawOrigin

from .roots import Root

__all__ = ["Draft", "Part", "lookup_fix", "write_fix"]

_AGGREGATES = {"Avg", "Count", "Max", "Min", "StdDev", "Sum", "Variance"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one loop's share of a fix is."""

    saves: int
    use: str | None = None


@dataclass
class Draft:
    """A queryset's line, while it is being put together."""

    root: Root
    selected: list[str] = field(default_factory=list)
    prefetched: list[str] = field(default_factory=list)
    annotated: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    nested: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Annotations of prefetched models: their model's name and the annotations, by lookup."""
    saves: int = 0
    built: RawOrigin | None = None
    """The line that builds it, if that is known for certain."""

    def add(self, load: Load, count: int, path: tuple[Step, ...]) -> Part | None:
        """Add what saves ``count`` queries of ``load``; None if no line would."""
        part = self._part(load, count, path)
        if part is not None and not load.prefetched:  # That is saved at the line itself.
            self.saves += part.saves
        return part

    def _part(self, load: Load, count: int, path: tuple[Step, ...]) -> Part | None:
        if load.kind is LoadKind.DEFERRED:
            return self._undefer(load, count, path)
        if load.step is None:
            return None
        whole = (*path, load.step)
        if load.kind in (LoadKind.TO_ONE, LoadKind.GENERIC):
            if all(step.joins for step in whole):
                _put(self.selected, "__".join(step.lookup for step in whole))
                return Part(saves=count)
            self._prefetch(whole)
            return Part(saves=count - 1)
        if load.prefetched:
            return self._bypassed(load, count)
        return self._related(load, count, path, whole)

    def _undefer(self, load: Load, count: int, path: tuple[Step, ...]) -> Part | None:
        if self.root.source is None or not all(step.joins for step in path):
            return None
        _put(self.fields, "__".join((*(step.lookup for step in path), load.name)))
        return Part(saves=count)

    def _bypassed(self, load: Load, count: int) -> Part | None:
        assert load.step is not None
        rows = f"{_variable(load)}.{load.step.accessor}.all()"
        conditions = _conditions_in_python(load.filters, "each")
        if conditions is None:
            return None
        kept = rows if not conditions else f"[each for each in {rows} if {conditions}]"
        uses = {
            "count": f"len({kept})",
            "exists": f"bool({kept})",
            "first": f"next(iter({kept}), None)",
            "all": kept,
        }
        if load.operation not in uses or (load.refinements and load.operation != "count"):
            return None
        return Part(saves=count, use=uses[load.operation])

    def _related(
        self, load: Load, count: int, path: tuple[Step, ...], whole: tuple[Step, ...]
    ) -> Part | None:
        assert load.step is not None
        accessor, variable = load.step.accessor, _variable(load)
        if load.operation in ("count", "exists", "aggregate"):
            annotation = _annotation(load, path)
            if annotation is None:
                return None
            name, code = annotation
            if all(step.joins for step in path):
                _put(self.annotated, f"{name}={code}")
                return Part(saves=count, use=f"{_variable_of(self.root)}.{name}")
            name, code = _annotation(load, ()) or annotation
            owner = "" if load.owner is None else load.owner.__name__
            lookup = "__".join(step.accessor for step in path)
            _put(self.nested.setdefault(lookup, (owner, []))[1], f"{name}={code}")
            return Part(saves=count, use=f"{variable}.{name}")
        if load.operation in ("first", "last") and load.filters == () and not load.refinements:
            self._prefetch(whole)
            if load.operation == "first" and load.model is not None and load.model._meta.ordering:
                return Part(saves=count - 1)  # An ordered queryset's first() reads the prefetch.
            rows = f"{variable}.{accessor}.all()"
            chosen = f"iter({rows})" if load.operation == "first" else f"reversed({rows})"
            return Part(saves=count - 1, use=f"next({chosen}, None)")
        if load.operation not in ("all", "iterator"):
            return None
        if load.filters == () and not load.refinements:
            self._prefetch(whole)
            return Part(saves=count - 1)
        if not load.filters and load.filters is not None and load.chain == "":
            return None
        written = _keywords(load.filters)
        if written is None or load.chain is None or load.model is None:
            return None
        lookup = "__".join(step.accessor for step in whole)
        filtered = f".filter({written})" if written else ".all()" if not load.chain else ""
        name = f"chosen_{accessor}"
        _put(
            self.prefetched,
            f"Prefetch({quoted(lookup)}, queryset={load.model.__name__}.objects"
            f"{filtered}{load.chain}, to_attr={quoted(name)})",
        )
        return Part(saves=count - 1, use=f"{variable}.{name}")

    def _prefetch(self, path: tuple[Step, ...]) -> None:
        _put(self.prefetched, quoted("__".join(step.accessor for step in path)))

    def code(self) -> str | None:
        """Return the expression; None if it would change nothing."""
        code = ""
        if self.selected:
            chosen = [
                quoted(name)
                for name in self.selected
                if not any(other.startswith(f"{name}__") for other in self.selected)
            ]
            code += f".select_related({', '.join(chosen)})"
        prefetched = self._prefetches()
        if prefetched:
            code += f".prefetch_related({', '.join(prefetched)})"
        if self.annotated:
            code += f".annotate({', '.join(self.annotated)})"
        if self.fields:
            code += self._loaded_fields()
        return f"{self._start()}{code}" if code else None

    def _prefetches(self) -> list[str]:
        nested = [
            f"Prefetch({quoted(lookup)}, queryset={model}.objects.annotate({', '.join(names)}))"
            for lookup, (model, names) in self.nested.items()
        ]
        plain = [
            each
            for each in self.prefetched
            if each.strip('"') not in self.nested
            and not any(
                other.startswith(f"{each.removesuffix(chr(34))}__") for other in self.prefetched
            )
        ]
        return [*nested, *plain]

    def _start(self) -> str:
        source = self.root.source
        manager = self.root.model._meta.default_manager
        name = "objects" if manager is None else manager.name
        if source is not None and source.prefetch_to is None and source.owner is not None:
            found = relation_of(source.query, source.owner)
            if found is not None:
                return f"{found[0]._meta.model_name}.{step_of(found[1]).accessor}"
        return f"{self.root.model.__name__}.{name}"

    def _loaded_fields(self) -> str:
        source = self.root.source
        loading = getattr(getattr(source, "query", None), "deferred_loading", (frozenset(), True))
        names, deferred = set(loading[0]), loading[1]
        if not deferred:
            order = [*sorted(names - set(self.fields)), *self.fields]
            return f".only({', '.join(map(quoted, order))})"
        left = sorted(names - set(self.fields))
        again = f".defer({', '.join(map(quoted, left))})" if left else ""
        return f".defer(None){again}"


def _put(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _variable(load: Load) -> str:
    return str(load.owner._meta.model_name) if load.owner is not None else "row"


def _variable_of(root: Root) -> str:
    return str(root.model._meta.model_name)


def _keywords(filters: tuple[Filter, ...] | None, prefix: str = "") -> str | None:
    if filters is None or not all(is_plain(value) for _, value in filters):
        return None
    return ", ".join(f"{prefix}{lookup}={_literal(value)}" for lookup, value in filters)


def _literal(value: object) -> str:
    return quoted(value) if type(value) is str else repr(value)


def _conditions_in_python(filters: tuple[Filter, ...] | None, name: str) -> str | None:
    if filters is None:
        return None
    conditions = []
    for lookup, value in filters:
        if "__" in lookup or not is_plain(value):
            return None
        conditions.append(f"{name}.{lookup} == {_literal(value)}")
    return " and ".join(conditions)


def _annotation(load: Load, path: tuple[Step, ...]) -> tuple[str, str] | None:
    """Return the annotation's name and code that answers a related query for all rows at once."""
    assert load.step is not None
    prefix = "__".join(step.lookup for step in path)
    before = f"{prefix.replace('__', '_')}_" if prefix else ""
    relation = f"{prefix}__{load.step.lookup}" if prefix else load.step.lookup
    outer = f"OuterRef({quoted(prefix or 'pk')})"
    accessor = load.step.accessor
    if set(load.refinements) - {"order_by"} or load.filters is None:
        return None
    if load.operation == "count":
        condition = _keywords(load.filters, f"{relation}__")
        if condition is None:
            return None
        suffix = "".join(f"_{value}" for _, value in load.filters if str(value).isidentifier())
        name = f"{before}{accessor}{suffix}_count"
        only = f", filter=Q({condition})" if condition else ""
        return name, f"Count({quoted(relation)}{only}, distinct=True)"
    condition = _keywords(load.filters)
    if condition is None or load.model is None or not load.step.field:
        return None
    rows = f"{load.model.__name__}.objects.filter({load.step.field}={outer}" + (
        f", {condition})" if condition else ")"
    )
    if load.operation == "exists":
        return f"{before}has_{accessor}", f"Exists({rows})"
    if load.aggregate is None or load.aggregate[1] not in _AGGREGATES:
        return None
    _, function, column = load.aggregate
    by = quoted(load.step.field)
    return (
        f"{before}{accessor}_{function.lower()}_{column}",
        f"Subquery({rows}.order_by().values({by}).annotate("
        f'value={function}({quoted(column)})).values("value"))',
    )


def lookup_fix(load: Load) -> str | None:
    """Return the one query that answers what a loop of look-ups asks one by one."""
    if load.model is None:
        return None
    if not load.filters:
        return _grouped(load)
    model, (first, *more) = load.model, load.filters
    name = first.lookup.removesuffix("__exact")
    if "__" in name or name.endswith("__in"):
        return None
    field = next((each for each in model._meta.concrete_fields if each.attname == name), None)
    if field is None:
        return None
    values = f"{name}s" if not name.endswith("s") else f"{name}es"
    if load.operation in ("get", "first") and not more and field.unique and field.primary_key:
        return f"{model.__name__}.objects.in_bulk({values})"
    if load.operation == "get" and not more and field.unique:
        return f"{model.__name__}.objects.in_bulk({values}, field_name={quoted(name)})"
    rest = _keywords(tuple(more))
    if rest is None:
        return None
    rows = f"{model.__name__}.objects.filter({name}__in={values}{f', {rest}' if rest else ''})"
    if load.operation == "count":
        return f'{rows}.values({quoted(name)}).annotate(count=Count("pk"))'
    if load.operation == "exists":
        return f"{rows}.values_list({quoted(name)}, flat=True).distinct()"
    if load.operation == "aggregate" and load.aggregate is not None:
        alias, function, column = load.aggregate
        return f"{rows}.values({quoted(name)}).annotate({alias}={function}({quoted(column)}))"
    return rows if load.operation in ("all", "get", "first", "last", "iterator") else None


def _grouped(load: Load) -> str | None:
    """Return what answers for all values of the one condition that a loop varies."""
    if load.last is None or load.operation != "count" or "__" in load.last.lookup:
        return None
    return f'queryset.values({quoted(load.last.lookup)}).annotate(count=Count("pk"))'


def write_fix(load: Load, columns: tuple[str, ...]) -> str | None:
    """Return the bulk method that writes what a loop writes one by one."""
    if load.model is None:
        return None
    model = load.model.__name__
    rows = f"{load.model._meta.model_name}_list"
    if load.operation == "create":
        return f"{model}.objects.bulk_create({rows})"
    if load.operation in ("get_or_create", "update_or_create"):
        return f"{model}.objects.bulk_create({rows}, ignore_conflicts=True)"
    if load.operation == "delete":
        return f"{model}.objects.filter(pk__in=[each.pk for each in {rows}]).delete()"
    if load.operation == "save":
        names = load.fields or columns
        return f"{model}.objects.bulk_update({rows}, [{', '.join(map(quoted, names))}])"
    return None
