"""Models of more than one manager: their rows differ, so a line must not name another one."""

from __future__ import annotations

from django.db.models import QuerySet

from .corpus import Run, case, relation
from .data import ROWS, page_of
from .models import Item


@case(relation("Item.shelf", 'Item.everything.select_related("shelf")'), after=1)
def manager_that_is_not_the_default_one(run: Run) -> None:
    items = [item.shelf.name for item in run(Item.everything.order_by("pk"))]  # N+1
    assert len(items) == 2 * ROWS


@case(relation("Item.shelf", 'Item.live.select_related("shelf")'), after=1)
def manager_that_leaves_out_rows(run: Run) -> None:
    items = run(Item.live.order_by("pk"))  # root
    assert len([item.shelf.name for item in items]) == ROWS  # N+1


def _items() -> QuerySet[Item]:
    return Item.everything.order_by("pk")  # of a helper


@case(relation("Item.shelf", 'Item.everything.select_related("shelf")'), after=1)
def manager_in_a_helper(run: Run) -> None:
    items = run(_items())
    assert len([item.shelf.name for item in items]) == 2 * ROWS  # N+1


@case(relation("Item.shelf", '<Item queryset>.select_related("shelf")'), after=1)
def one_of_two_managers(run: Run) -> None:
    items = Item.live.all() if run is None else Item.everything.all()
    assert len([item.shelf.name for item in run(items)]) == 2 * ROWS  # N+1


_MANAGER = Item.everything


@case(relation("Item.shelf", '<Item queryset>.select_related("shelf")'), after=1)
def manager_that_the_source_does_not_tell(run: Run) -> None:
    items = page_of(run(_MANAGER.order_by("pk")))
    assert len([item.shelf.name for item in items]) == ROWS  # N+1
