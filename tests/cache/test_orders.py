"""All orders of a read and writes through processes, step by step.

R1 to R10 and R13 are among them (:mod:`tests.cache.races`). See :mod:`tests.cache.actors` and
:mod:`tests.cache.orders`. After each order, every process reads through the cache what the
database says; and a read that began after the write had returned has seen it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cache.races import RACES
from tests.cache.stage import ON_EACH_DATABASE, ON_EACH_VENDOR, Stage, run_all_orders, run_race

pytestmark = pytest.mark.slow

VENDORS = {"default": "sqlite", "postgres": "postgresql", "mariadb": "mysql"}

# How many orders there are at least, about half of what there are on SQLite. Fewer would mean that
# a program has lost steps, or that the reduction leaves out what it must not.
AT_LEAST = {
    **dict.fromkeys(["R1", "R2", "R2b", "R2c", "R2d", "R10", "R10b", "R13"], 6),
    "R3": 8,
    "R4": 14,
    "R4b": 4,
    "R5": 4,
    "R6": 8,
    "R6b": 4,
    "R6c": 4,
    "R6d": 3,
    "R6e": 3,
    "R7": 4,
    "R8": 30,
    "R8b": 16,
    "R8c": 3,
    "R9": 16,
    "R10c": 5,
}
AT_LEAST_UNMARKED = {"R3": 3, "R5": 3, "R7": 2, "R8": 12, "R9": 5}  # of the others 3


def races_on(places: list[Any]) -> list[Any]:
    """Return each race on each of the places whose database can have it."""
    return [
        pytest.param(*where.values, name, marks=where.marks, id=f"{name}-{where.id}")
        for name, race in RACES.items()
        for where in places
        if VENDORS[str(where.values[0])] in race.vendors
    ]


@pytest.mark.parametrize(("alias", "isolation", "race"), races_on(ON_EACH_DATABASE))
def test_race(stage: Stage, race: str, record_property: Any) -> None:
    """R1 to R10 and R13, by their names in the test's id."""
    orders = run_race(stage, RACES[race], "key")
    assert orders >= AT_LEAST[race]
    record_property("orders", orders)


@pytest.mark.parametrize("form", ["list", "condition", "join"])
@pytest.mark.parametrize(("alias", "isolation", "race"), races_on(ON_EACH_DATABASE))
def test_race_of_a_list(stage: Stage, race: str, form: str, record_property: Any) -> None:
    """The same read by a list that a foreign key pins: the written row is in it, comes in, or is
    joined to one that is."""
    orders = run_race(stage, RACES[race], form)
    assert orders >= AT_LEAST[race]
    record_property("orders", orders)


@pytest.mark.parametrize("form", ["key", "scope", "table", "list", "condition", "join"])
@pytest.mark.parametrize("write", ["save", "update", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_DATABASE)
def test_no_order_leaves_the_past_under_any_form_of_tags(
    stage: Stage, write: str, form: str, record_property: Any
) -> None:
    orders = run_all_orders(stage, ("read", form), (write, 1, 1000))
    assert orders >= 6
    orders += run_all_orders(stage, ("read_twice", form), (write, 1, 1000), warm=True)
    assert orders >= 14
    record_property("orders", orders)


@pytest.mark.parametrize("write", ["save", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_DATABASE)
def test_no_order_of_a_group_leaves_the_past(
    stage: Stage, write: str, record_property: Any
) -> None:
    """Three entries in one read, each by tags of another form."""
    orders = run_all_orders(
        stage, ("read_together", "key"), (write, 1, 1000), again="read_together"
    )
    assert orders >= 6
    orders += run_all_orders(
        stage,
        ("read_together_twice", "key"),
        (write, 1, 1000),
        warm=True,
        again="read_together",
    )
    assert orders >= 14
    record_property("orders", orders)


@pytest.mark.parametrize("form", ["table", "list", "condition", "join"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
@pytest.mark.parametrize("name", ["R1", "R2", "R2b", "R2d", "R3", "R5", "R7", "R8", "R9"])
def test_race_with_in_flight_marks_turned_off(
    stage: Stage, name: str, form: str, record_property: Any
) -> None:
    """They are there for writers that die; no one dies here, and tokens alone have to do."""
    orders = run_race(stage, RACES[name], form, IN_FLIGHT_MARKS=False)
    assert orders >= AT_LEAST_UNMARKED.get(name, 3)
    record_property("orders", orders)


@pytest.mark.parametrize("knowledge", ["no_foreign_key", "one_foreign_key_less"])
@pytest.mark.parametrize("form", ["list", "condition"])
@pytest.mark.parametrize(("alias", "isolation", "race"), races_on(ON_EACH_VENDOR))
def test_race_with_a_writer_of_older_code(
    stage: Stage, race: str, form: str, knowledge: str, record_property: Any
) -> None:
    """It does not know the foreign key that pins the list, as while a migration is deployed."""
    orders = run_race(stage, RACES[race], form, knowledge=knowledge)
    assert orders >= AT_LEAST[race]
    record_property("orders", orders)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("form", ["list", "condition"])
@pytest.mark.parametrize("knowledge", ["no_foreign_key", "one_foreign_key_less"])
@pytest.mark.parametrize("second", ["save", "update_of_another_column"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_no_order_of_a_writer_of_older_code_and_another_leaves_the_past(
    stage: Stage, second: str, knowledge: str, form: str, warm: bool, record_property: Any
) -> None:
    orders = run_all_orders(
        stage,
        ("read", form),
        ("save", 1, 1000),
        (second, 2, 2000),
        warm=warm,
        knowledge=knowledge,
    )
    assert orders >= 70
    record_property("orders", orders)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("save", "save"),
        ("save", "update_in_atomic"),
        ("update_in_atomic", "update_in_atomic"),
        ("update_in_atomic", "roll_back"),
    ],
)
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_no_order_of_two_writers_leaves_the_past(
    stage: Stage, first: str, second: str, record_property: Any
) -> None:
    orders = run_all_orders(stage, ("read", "table"), (first, 1, 1000), (second, 2, 2000))
    assert orders >= 70
    record_property("orders", orders)
