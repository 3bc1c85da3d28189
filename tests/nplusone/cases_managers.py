"""Models of more than one manager: their rows differ, so a line must not name another one."""

from __future__ import annotations

from django.db.models import QuerySet

from .corpus import NO_QUERYSET, Run, case, lookup, related, relation, write
from .data import ROWS, page_of
from .models import Item, Label, Shelf


@case(relation("Item.shelf", 'Item.everything.select_related("shelf")'), after=1)
def manager_that_is_not_the_default_one(run: Run) -> None:
    items = [item.shelf.name for item in run(Item.everything.order_by("pk"))]  # N+1
    assert len(items) == 2 * ROWS


@case(relation("Item.shelf", 'Item.live.select_related("shelf")'), after=1)
def manager_that_leaves_out_rows(run: Run) -> None:
    items = run(Item.live.order_by("pk"))  # root
    assert len([item.shelf.name for item in items]) == ROWS  # N+1


def _items() -> QuerySet[Item]:
    return Item.everything.order_by("pk")  # root: of_a_helper


@case(
    relation("Item.shelf", 'Item.everything.select_related("shelf")'),
    rooted="root: of_a_helper",
    after=1,
)
def manager_in_a_helper(run: Run) -> None:
    items = run(_items())
    assert len([item.shelf.name for item in items]) == 2 * ROWS  # N+1


@case(relation("Item.shelf", '<Item queryset>.select_related("shelf")'), after=1)
def one_of_two_managers(run: Run) -> None:
    items = Item.live.all() if run is None else Item.everything.all()  # root
    assert len([item.shelf.name for item in run(items)]) == 2 * ROWS  # N+1


_MANAGER = Item.everything


@case(
    relation("Item.shelf", '<Item queryset>.select_related("shelf")'),
    rooted="root: page",
    after=1,
)
def manager_that_the_source_does_not_tell(run: Run) -> None:
    items = page_of(run(_MANAGER.order_by("pk")))
    assert len([item.shelf.name for item in items]) == ROWS  # N+1


_EVERYTHING = (
    'Shelf.objects.prefetch_related(Prefetch("items", queryset=Item.everything.all(), '
    'to_attr="chosen_items"))'
)


@case(
    relation(
        "Shelf.items",
        _EVERYTHING,
        use="s.chosen_items",
        replaces="s.items(manager='everything').all()",
    ),
    after=2,
)
def related_manager_that_is_asked_for(run: Run) -> None:
    for s in run(Shelf.objects.all()):  # root
        for item in s.chosen_items if run.fixed else s.items(manager="everything").all():  # N+1
            assert item.name


@case(relation("Shelf.items", None, hint=NO_QUERYSET))
def related_manager_in_a_variable(run: Run) -> None:
    for shelf in Shelf.objects.all():
        items = shelf.items(manager="everything")
        assert len(items.all()) == 2  # N+1


@case(
    related(
        "Shelf.items",
        'Shelf.objects.annotate(has_items=Exists(Item.everything.filter(shelf=OuterRef("pk"))))',
        "shelf.has_items",
    ),
    after=1,
)
def exists_of_a_manager_that_is_asked_for(run: Run) -> None:
    for shelf in run(Shelf.objects.all()):  # root
        found = shelf.has_items if run.fixed else shelf.items(manager="everything").exists()  # N+1
        assert found


_WITH_MAKERS = (
    'Shelf.objects.prefetch_related(Prefetch("items", '
    'queryset=Item.everything.all().select_related("maker"), to_attr="chosen_items"))'
)


@case(
    relation("Shelf.items", _WITH_MAKERS, use="s.chosen_items"),
    relation("Item.maker", _WITH_MAKERS),
    after=2,
)
def below_a_manager_that_is_asked_for(run: Run) -> None:
    """The line of the items is to read an attribute: the makers are joined where they are chosen.

    Two lines, one for each loop, would be of no use together.
    """
    for s in run(Shelf.objects.all()):  # root
        for item in s.chosen_items if run.fixed else s.items(manager="everything").all():  # N+1
            assert item.maker.name  # N+1


@case(
    relation("Shelf.items", None, hint=NO_QUERYSET),
    relation("Item.maker", "shelf.items(manager='everything').select_related(\"maker\")"),
    after=7,
)
def below_a_manager_in_a_variable(run: Run) -> None:
    """The line that asks for the manager is known, and is the one to change: no other's rows."""
    for shelf in Shelf.objects.all():
        items = run(shelf.items(manager="everything").all())  # root
        for item in items:  # N+1
            assert item.maker.name  # N+1


@case(
    relation("Item.maker", "shelf.items(manager='everything').select_related(\"maker\")"),
    after=3,
)
def rows_of_a_manager_that_is_asked_for(run: Run) -> None:
    shelf = Shelf.objects.earliest("pk")
    Item.everything.update(shelf=shelf)
    for item in run(shelf.items(manager="everything").order_by("pk")):  # root
        assert item.maker.name  # N+1


@case(lookup("Item", "Item.everything.in_bulk(ids)", operation="get"), after=2)
def lookup_by_a_manager(run: Run) -> None:
    keys = list(Item.everything.values_list("pk", flat=True))
    if run.fixed:
        assert set(run.ask(ids=keys)) == set(keys)
        return
    for key in keys:
        assert Item.everything.get(pk=key).name  # N+1


@case(lookup("Item", "Item.everything.in_bulk(ids)", operation="get"), after=2)
def lookup_by_a_manager_in_a_variable(run: Run) -> None:
    items = Item.everything.order_by("name")
    keys = list(Item.everything.values_list("pk", flat=True))
    if run.fixed:
        assert set(run.ask(ids=keys)) == set(keys)
        return
    for key in keys:
        assert items.get(pk=key).name  # N+1


@case(lookup("Item", "<Item queryset>.in_bulk(ids)", operation="get"), after=2)
def lookup_by_a_manager_that_the_source_does_not_tell(run: Run) -> None:
    keys = list(Item.everything.values_list("pk", flat=True))
    if run.fixed:
        assert set(run.ask(ids=keys, queryset=_MANAGER)) == set(keys)
        return
    for key in keys:
        assert _MANAGER.get(pk=key).name  # N+1


@case(
    write("Item", 'Item._base_manager.bulk_update(item_list, ["name"])', operation="save"), after=3
)
def rows_that_the_default_manager_leaves_out(run: Run) -> None:
    items = list(Item.everything.all())
    for item in items:
        item.name += "!"
    if run.fixed:
        run.write(item_list=items)
    else:
        for item in items:
            item.save(update_fields=["name"])  # N+1
    assert Item.everything.filter(name__endswith="!").count() == 2 * ROWS


@case(
    write("Item", "Item.everything.filter(name__in=names).delete()", operation="delete"),
    after=4,
)
def deletes_by_a_manager(run: Run) -> None:
    if run.fixed:
        run.write(names=[f"gone {number}" for number in range(ROWS)])
        return
    for number in range(ROWS):
        Item.everything.filter(name=f"gone {number}").delete()  # N+1


def _labels_of(item: Item) -> int:
    return item.labels.count()  # N+1: labels


_LABELLED = 'Label.objects.select_related("item").prefetch_related("item__labels")'


@case(
    related("Item.labels", _LABELLED, operation="count"),
    relation("Label.item", _LABELLED),
    blamed="N+1: labels",
    after=2,
)
def foreign_key_to_a_row_that_the_default_manager_leaves_out(run: Run) -> None:
    for label in run(Label.objects.all()):  # root
        assert _labels_of(label.item) == 1  # N+1
