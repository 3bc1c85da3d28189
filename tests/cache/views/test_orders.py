"""All orders of a read through a cached view and of writes, as in :mod:`tests.cache.test_orders`.

The races of querysets once more, in which the reader is a request: it looks, takes the lease, runs
the view, stores, and gives the lease back, and a writer may come between any two of these.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cache.races import RACES
from tests.cache.stage import (
    ON_EACH_DATABASE,
    ON_EACH_VENDOR,
    NeverCached,
    Stage,
    run_all_orders,
    run_race,
)
from tests.cache.test_planted_defects import UNMARKED, is_found

IN_CI = [where for where in ON_EACH_VENDOR if where.values[0] == "postgres"]


@pytest.mark.once
@pytest.mark.parametrize(("alias", "isolation"), IN_CI)
def test_a_view_and_an_update(stage: Stage, record_property: Any) -> None:
    """R2b, with nothing cached and with an answer of before."""
    orders = run_all_orders(stage, ("read", "view by key"), ("update", 1, 1000))
    assert orders >= 5
    record_property("orders", orders)


@pytest.mark.once
@pytest.mark.parametrize(("alias", "isolation"), IN_CI)
def test_a_planted_defect_is_found_in_ci(stage: Stage) -> None:
    assert is_found(stage, "R1", form="view by table", defect="tokens_are_read_after_the_query")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alias", "isolation", "race"),
    [
        pytest.param(*where.values, name, marks=where.marks, id=f"{name}-{where.id}")
        for name in ["R1", "R2b", "R3", "R5", "R6", "R6d", "R8", "R9", "R10", "R13"]
        for where in ON_EACH_DATABASE
        # Databases differ in transactions and snapshots; views do not.
        if where.values[0] in ("postgres", "mariadb") or name in ("R1", "R6")
    ],
)
def test_race(stage: Stage, race: str, record_property: Any) -> None:
    orders = run_race(stage, RACES[race], "view by key")
    assert orders >= 3
    record_property("orders", orders)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["view by key", "view by scope", "view by table"])
@pytest.mark.parametrize("write", ["save", "update_in_atomic"])
@pytest.mark.parametrize(("alias", "isolation"), IN_CI)
def test_no_order_leaves_the_past_under_any_form_of_tags(
    stage: Stage, write: str, form: str, record_property: Any
) -> None:
    orders = run_all_orders(stage, ("read", form), (write, 1, 1000))
    assert orders >= 6
    orders += run_all_orders(stage, ("read_twice", form), (write, 1, 1000), warm=True)
    assert orders >= 14
    record_property("orders", orders)


@pytest.mark.slow
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_VENDOR)
def test_a_view_in_a_transaction_that_has_written(stage: Stage, record_property: Any) -> None:
    """R9: it keeps the uncommitted write to itself."""
    write = ("write_and_read_by_view_in_atomic", 1, 1000)
    orders = run_all_orders(stage, ("read_twice", "view by table"), write)
    assert orders >= 8
    record_property("orders", orders)


@pytest.mark.slow
@pytest.mark.parametrize(("alias", "isolation"), IN_CI)
def test_two_writers_and_a_view(stage: Stage, record_property: Any) -> None:
    orders = run_all_orders(
        stage, ("read", "view by table"), ("save", 1, 1000), ("update_in_atomic", 2, 2000)
    )
    assert orders >= 70
    record_property("orders", orders)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alias", "isolation", "defect", "race", "cache"),
    [
        pytest.param(*where.values, *planted, marks=where.marks, id=f"{planted[0]}-{where.id}")
        for planted in [
            ("tokens_are_read_after_the_query", "R1", {}),
            ("a_write_is_renewed_before_its_statement", "R2b", {}),
            ("a_transaction_is_renewed_before_its_commit", "R1", {}),
            ("a_dropped_callback_is_taken_for_a_waiting_one", "R8", UNMARKED),
            ("a_renewal_keeps_the_token", "R2", {}),
            ("a_token_comes_back", "R3", {}),
            ("an_entry_is_not_compared_with_its_tokens", "R1", {}),
        ]
        for where in IN_CI
    ],
)
def test_a_planted_defect_is_found(
    stage: Stage, defect: str, race: str, cache: dict[str, Any]
) -> None:
    assert is_found(stage, race, form="view by key", defect=defect, **cache)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alias", "isolation"),
    [
        where
        for where in ON_EACH_DATABASE
        if where.values[0] == "postgres" and where.values[1] == "repeatable read"
    ],
)
def test_an_old_snapshot_is_found(stage: Stage) -> None:
    assert is_found(stage, "R6", form="view by key", defect="any_snapshot_may_be_stored")


@pytest.mark.slow
@pytest.mark.parametrize(("alias", "isolation"), IN_CI)
def test_views_that_keep_nothing_are_not_taken_for_right_ones(stage: Stage) -> None:
    with pytest.raises(NeverCached):
        is_found(stage, "R2b", form="view by key", defect="nothing_is_stored")
