"""What one loop needs of a queryset: :class:`Need`, and its share of the fix: :class:`Part`."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from django.core.exceptions import FieldError
from django.db.models import Model
from django.db.models.sql import Query

from django_querybudget.evidence import Load, Step
from django_querybudget.evidence.relations import quoted
from django_querybudget.nplusone.source.calls import Call

__all__ = ["Need", "Part", "follows"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one loop's share of a fix is."""

    saves: int
    use: str | None = None
    replaces: str | None = None
    chosen: str | None = None
    """The attribute that the queryset's prefetch puts the rows into."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A load of a loop, seen from the queryset that is to be changed for it."""

    load: Load
    count: int
    """How many queries it runs."""
    path: tuple[Step, ...]
    """From the queryset's rows to the row that has the relation."""
    call: Call | None
    """The expression that runs them, if the source has it."""
    in_python: bool
    """Whether its line is code: a template or a serializer's source reads attributes, no more."""
    shared: bool
    """Whether rows of other querysets may come to its line: what it reads must not be an attribute
    that only this one makes."""
    alias: str
    """The database that its queries asked."""

    @property
    def whole(self) -> tuple[Step, ...]:
        """The path, and the relation itself."""
        return self.path if self.load.step is None else (*self.path, self.load.step)

    @property
    def owner(self) -> ast.expr | None:
        """The expression of the row that has the relation; None if the line does not name it."""
        if self.call is None or self.load.step is None:
            return None
        return self.call.owner(self.load.step.accessor)

    @property
    def row(self) -> str:
        """How the line names the row that has the relation; in brackets if it does not."""
        if self.owner is not None:
            return ast.unparse(self.owner)
        model = self.load.owner
        return self.load.row or f"<{'row' if model is None else model._meta.model_name}>"

    @property
    def rows(self) -> str:
        """The related rows, as a prefetch fills them."""
        return f"{self.row}.{self.whole[-1].accessor}.all()"

    @property
    def is_plain(self) -> bool:
        """Whether it asks for all rows of the relation, by its own manager, and for nothing else.

        A call in between, a ``filter()`` without a condition even, makes another queryset.
        """
        load = self.load
        plain = load.filters == () and not load.refinements and load.manager is None
        return plain and (self.call is None or self._methods <= {"all", self.load.operation})

    @property
    def is_cut(self) -> bool:
        """Whether it takes some of the rows by their position: ``.all()[0]``, ``.all()[:3]``."""
        load = self.load
        whole = load.filters == () and load.refinements == ("slice",) and load.manager is None
        return whole and load.operation == "all" and self._methods <= {"all"}

    @property
    def _methods(self) -> set[str]:
        """The methods between the relation and what evaluates it."""
        step, found = self.load.step, set()
        node = None if self.call is None else self.call.receiver
        while step is not None and node is not None:
            match node:
                case ast.Call(func=ast.Attribute(value=deeper, attr=name)):
                    if name == step.accessor:
                        break
                    found.add(name.removeprefix("a") if name in _TWINS else name)
                    node = deeper
                case ast.Subscript(value=deeper):
                    node = deeper
                case _:
                    break
        return found

    def told(self, part: Part) -> Part | None:
        """Return ``part`` with what its line is to read instead; None if that cannot be told."""
        if part.use is None or self.call is None:
            return part
        use = part.use
        if self.call.binds is not None:
            use = f"for {self.call.binds} in {use}"
        return replace(part, use=use, replaces=self.call.text)

    def read_if_there(self, name: str, use: str, row: str) -> str | None:
        """Return how to read an attribute ``name`` of ``row`` that a queryset has put there.

        Where other rows come to the line, it falls back to what stands there; None if that is not
        known, thus nothing can be told.
        """
        if not self.shared:
            return use
        if self.call is None or self.call.binds is not None or not self.in_python:
            return None
        return f"({use} if hasattr({row}, {quoted(name)}) else {self.call.text})"


_TWINS = {"acount", "aexists", "afirst", "alast", "aaggregate", "aiterator"}


def follows(model: type[Model], path: tuple[Step, ...]) -> bool:
    """Whether ``path`` leads from rows of ``model``, as Django will resolve it."""
    names: list[str] = []
    for step in path:
        if step.generic:
            return not names or follows(model, path[: len(names)])
        names.append(step.lookup)
    try:
        if names:
            Query(model).names_to_path(names, model._meta, fail_on_missing=True)
    except FieldError:
        return False
    return True
