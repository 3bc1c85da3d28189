"""The rows of these models, as they lie in the database: no code of theirs makes them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connections, models

from .models import (
    Animal,
    Assigned,
    Branch,
    ByCode,
    ByUuid,
    Cat,
    Circle,
    Dirty,
    Dog,
    FromDb,
    Hashed,
    Holder,
    Inited,
    Negated,
    Poll,
    Product,
    Sealed,
    Secret,
    Shape,
    Shelf,
    Signalled,
    Tracked,
)

THINGS: list[Any] = [
    FromDb,
    Inited,
    Signalled,
    Assigned,
    Secret,
    Tracked,
    Dirty,
    Hashed,
    Negated,
    ByUuid,
    ByCode,
    Sealed,
]
MADE: list[Any] = [*THINGS, Shelf, Holder, Animal, Dog, Cat, Shape, Circle, Product, Branch, Poll]


def key_of(model: Any, number: int) -> Any:
    """Return the primary key of a model's row, as Python has it."""
    keys = {Hashed: f"h{number}", ByUuid: UUID(int=number), ByCode: f"c{number}"}
    return keys.get(model, number)


def fill(alias: str) -> None:
    """Insert the rows on ``alias``."""
    _insert(alias, Shelf, [{"id": 1, "name": "a", "labels": "[]"}])
    for model in THINGS:
        stored = model._meta.pk.get_db_prep_value
        more = {Secret: {"word": "cba"}, Sealed: {"secret": "0$s"}}.get(model, {})
        _insert(
            alias,
            model,
            [
                {"id": stored(key_of(model, key), connections[alias]), "shelf_id": 1,
                 "name": f"n{key}", "number": key, "labels": json.dumps(["x"]), **more}
                for key in (1, 2)
            ],
        )  # fmt: skip
    _insert(alias, Holder, [{"id": 1, "from_db_row_id": 1, "inited_id": 1, "hashed_id": 1}])
    _insert(alias, Holder, [{"id": 2, "hashed_id": 1}])
    _insert(alias, Animal, [{"id": key, "name": f"a{key}"} for key in (1, 2, 3)])
    _insert(alias, Dog, [{"animal_ptr_id": 1, "barks": True}])
    _insert(alias, Cat, [{"animal_ptr_id": 2, "lives": 9}])
    types = ContentType.objects.db_manager(alias)
    for key, model in ((1, Shape), (2, Circle)):
        kind = types.get_for_model(model, for_concrete_model=False).pk
        _insert(alias, Shape, [{"id": key, "name": f"s{key}", "polymorphic_ctype_id": kind}])
    _insert(alias, Circle, [{"shape_ptr_id": 2, "radius": 1}])
    _insert(alias, Product, [{"id": 1, "code": "p"}])
    for key, (code, title) in enumerate((("en-us", "cup"), ("de", "Tasse")), 1):
        _insert(
            alias, Product.translations.field.model,
            [{"id": key, "language_code": code, "title": title, "master_id": 1}],
        )  # fmt: skip
    _insert(
        alias,
        Branch,
        [
            {"id": 1, "name": "root", "lft": 1, "rght": 4, "tree_id": 1, "level": 0},
            {"id": 2, "name": "leaf", "parent_id": 1, "lft": 2, "rght": 3, "tree_id": 1,
             "level": 1},
        ],
    )  # fmt: skip
    _insert(alias, Poll, [{"id": 1, "question": "a"}])
    for sql in connections[alias].ops.sequence_reset_sql(no_style(), MADE):
        _execute(alias, sql)


def _insert(alias: str, model: type[models.Model], rows: list[dict[str, Any]]) -> None:
    quote = connections[alias].ops.quote_name
    for row in rows:
        names = ", ".join(map(quote, row))
        places = ", ".join(["%s"] * len(row))
        _execute(
            alias, f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({places})",
            list(row.values()),
        )  # fmt: skip


def _execute(alias: str, sql: str, params: Any = None) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
