"""A query's SQL, without compiling it where one of the same structure was compiled before.

Compiling is half of what a cached read costs, and most reads of a project differ from an earlier
one in nothing but the values that columns are compared with.

Why it is right
    The *structure* is everything that a :class:`~django.db.models.sql.Query` holds, but for those
    values. Nothing is left out because it looks harmless: an attribute, an expression, a lookup
    or a field of any kind that is not named here makes the query one that is compiled. Nor may a
    value change the SQL: of those that could (``None``, ``bool``, numbers out of a column's
    range, lists with duplicates) what matters is part of the structure, or they are compiled.
    The key of an entry has the SQL text itself, and all the values.

    Values that stand in an *expression* (``F("a") + 1``, an annotation, an ordering) are part of
    the structure besides: compiling compares expressions with one another, by what they were made
    of, and groups or orders by one where it finds an equal one. For the same reason an expression's
    structure has the arguments that it was made with, as they were before it was resolved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.models.sql import Query

from django_querybudget.sql.memory import Memo

from .known_sql import UnknownPart
from .structure import Structure, StructureWalk

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["compiled"]


# By structure: the SQL, None for one that has other parameters than the values compared with; and
# what the structure names by id(), so that no other object can get that id.
_memory: Memo[Structure, tuple[str | None, list[Any]]] = Memo()


def compiled(query: Query, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
    """Return the query's SQL, and values that are the same if and only if its parameters are.

    Raises what compiling raises: :class:`~django.core.exceptions.EmptyResultSet` and
    :class:`~django.core.exceptions.FullResultSet`.
    """
    walk = StructureWalk(connection)
    try:
        structure = walk.query(query)
    except UnknownPart:
        sql, params = _compile(query, connection)
        return sql, tuple(params)
    try:
        known = _memory[structure]
    except KeyError:
        sql, params = _compile(query, connection)
        # A boolean, which is part of the structure, may stand in the SQL itself; so may a constant.
        all_told = len(walk.values) - walk.optional <= len(params) <= len(walk.values)
        known = (sql if all_told else None, walk.named)
        _memory.remember(structure, known)
    if known[0] is not None:
        return known[0], walk.told()
    sql, params = _compile(query, connection)
    return sql, tuple(params)


def _compile(query: Query, connection: BaseDatabaseWrapper) -> tuple[str, Sequence[Any]]:
    if query.combinator:
        query = _apart(query)
    return query.get_compiler(connection=connection).as_sql()  # type: ignore[no-any-return]


def _apart(query: Query) -> Query:
    """Return a clone to compile, after which the query can be compiled once more.

    Compiling a union that is ordered writes into ``selected``, which clones share in Django.
    """
    clone: Any = query.clone()
    if getattr(clone, "selected", None):
        clone.selected = dict(clone.selected)
    clone.combined_queries = tuple(map(_apart, clone.combined_queries))
    return clone  # type: ignore[no-any-return]
