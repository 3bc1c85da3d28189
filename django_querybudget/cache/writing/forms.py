"""The form of a statement that may write.

The forms in which Django's ORM writes known rows are recognised to the letter; everything else
that may write is a write of unknown extent to every table it names, and what may write without
naming is one to everything. So what is not known for certain costs hits, and never leaves a stale
entry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django_querybudget.cache.catalog import Catalog, catalog_of
from django_querybudget.cache.sql_functions import may_write
from django_querybudget.cache.tables import Tables, tables
from django_querybudget.conf import conf
from django_querybudget.sql.memory import Memo
from django_querybudget.sql.statements import Statement, plain_calls, read
from django_querybudget.sql.verbs import words_where

from .exact_forms import exact_form, form_by_condition
from .form import Form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["form_of"]

_INSERTING = words_where(lambda verb: verb.adds)

_NO_TEXT = Form((), everything="a statement that is no text")


def form_of(sql: str | None, connection: BaseDatabaseWrapper) -> Form | None:
    """Return what the statement's text tells of what it writes, None if it is nothing."""
    if sql is None:
        return _NO_TEXT
    known = tables()
    memo = known.forms.get(connection.vendor)
    if memo is None:
        memo = _memo_of(known, connection.vendor)
    form = memo[sql]
    return form if form is None or not (form.calls or form.targets) else _settled(form, connection)


def _memo_of(known: Tables, vendor: str) -> Memo[str, Form | None]:
    """Return what is remembered of texts, as long as the tables are the same."""
    made: Memo[str, Form | None] = Memo(lambda sql: _form(sql, vendor, known))
    memo: Memo[str, Form | None] = known.forms.setdefault(vendor, made)
    return memo


_UNREAD = Catalog(frozenset(), frozenset(), frozenset(), {})


def _settled(form: Form, connection: BaseDatabaseWrapper) -> Form | None:
    """Return the form with what PostgreSQL's catalog tells of functions and unknown tables."""
    catalog = catalog_of(connection, form.calls, form.targets) or _UNREAD
    if unknown := form.calls - catalog.reading:
        return Form((), everything=f"function {min(unknown)}")
    if unknown := form.targets - catalog.relations:
        return Form((), everything=f"table {min(unknown)}")
    above = frozenset[str]().union(*(catalog.above.get(name, ()) for name in form.targets))
    written = tables().named_among(above)
    if not (form.tables or form.target or form.unmodelled):
        return None
    return replace(
        form,
        tables=(*form.tables, *tables().of(written)),
        calls=frozenset(),
        targets=frozenset(),
    )


def _form(sql: str, vendor: str, known: Tables) -> Form | None:
    declared = conf.CACHE.FUNCTIONS
    plain = plain_calls(sql)
    if plain is not None and not may_write(plain, vendor, declared):
        return None
    statements = read(sql, vendor).statements
    calls = frozenset[str]().union(
        *(may_write(each.calls, vendor, declared) for each in statements)
    )
    opaque = next((each.opaque for each in statements if each.opaque), "")
    if opaque:
        return Form((), everything=opaque)
    writing = [each for each in statements if each.verbs]
    calls |= may_write(_defaults(writing, known), vendor, declared)
    if calls and vendor != "postgresql":
        return Form((), everything=f"function {min(calls)}")
    form = None
    if len(statements) == 1 == len(writing):
        form = exact_form(sql, known) or form_by_condition(sql, known)
    if form is None:
        form = _named_form(writing, vendor, known)
    if not calls:
        return form
    return replace(form or Form(()), calls=calls)


def _defaults(writing: list[Statement], known: Tables) -> Iterator[str]:
    """Yield the functions that the database calls by itself for what rows are not given."""
    for each in writing:
        if each.verbs & _INSERTING or "default" in each.names:  # SET … = DEFAULT
            for name in known.named_among(each.names):
                yield from known.tables[name].defaults


def _named_form(writing: list[Statement], vendor: str, known: Tables) -> Form | None:
    """Return the form of a write of unknown extent to every table that is named."""
    written: set[str] = set()
    targets: set[str] = set()
    unmodelled = False
    for each in writing:
        named = known.named_among((each.alone,)) or known.named_among(each.names)
        if each.removes:
            truncated = "TRUNCATE" in each.verbs
            for name in tuple(named):
                named |= known.deleted_with(name, truncated=truncated)
        kept = {name for name in named if not known.ignored(name)}
        written |= kept
        if not named and not known.names_cache_table(each.names):
            unmodelled = True
        if vendor == "postgresql":
            targets |= {
                name
                for name in each.targets
                if name not in known.by_lower_name and not known.names_cache_table((name,))
            }
            unmodelled |= bool(targets)
    if not written and not unmodelled:
        return None
    return Form(known.of(written), targets=frozenset(targets), unmodelled=unmodelled)
