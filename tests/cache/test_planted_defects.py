"""The proofs can fail: each planted defect is found by the orders that run in CI.

And the orders that are left out (see :mod:`tests.cache.orders`) hide none: where all of them find
a defect, so do the ones that are run.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.cache.actors import Failed
from tests.cache.races import RACES
from tests.cache.stage import (
    ON_EACH_DATABASE,
    ON_EACH_VENDOR,
    NeverCached,
    Stage,
    Stale,
    run_all_orders,
    run_race,
)

pytestmark = pytest.mark.slow

UNMARKED = {"IN_FLIGHT_MARKS": False}  # where a mark would cover the defect

# The defect, the races that find it, and the settings.
FOUND_BY: list[tuple[str, list[str], dict[str, Any]]] = [
    ("tokens_are_read_after_the_query", ["R1"], {}),
    ("a_write_is_renewed_before_its_statement", ["R2", "R2b", "R2c"], {}),
    ("a_transaction_is_renewed_before_its_commit", ["R1", "R3"], {}),
    ("a_manual_transaction_is_taken_for_autocommit", ["R10", "R10b"], {}),
    ("any_snapshot_may_be_stored", ["R6"], {}),
    ("own_writes_are_forgotten", ["R9"], UNMARKED),
    ("a_dropped_callback_is_taken_for_a_waiting_one", ["R8"], UNMARKED),
    ("a_renewal_keeps_the_token", ["R2", "R3", "R4"], {}),
    ("a_token_comes_back", ["R3", "R4"], {}),
    ("an_entry_is_not_compared_with_its_tokens", ["R1", "R2", "R3"], {}),
]
CASES = [
    pytest.param(
        *where.values, defect, race, cache, marks=where.marks, id=f"{defect}-{race}-{where.id}"
    )
    for defect, races, cache in FOUND_BY
    for race in races
    for where in (ON_EACH_DATABASE if race == "R6" else ON_EACH_VENDOR)
    # Under READ COMMITTED a snapshot is no older than its statement.
    if race != "R6" or where.values[1] != "read committed"
]

# Of lists that a foreign key pins: the defect, the race and the form of the read that find it.
FOUND_BY_LISTS = [
    ("rows_of_a_list_are_left_out", "R2b", "list"),
    ("tokens_of_rows_are_taken_for_older_than_the_query", "R1", "list"),
    ("tokens_of_rows_are_taken_for_older_than_the_query", "R2b", "list"),
    ("what_is_set_renews_no_list", "R2", "condition"),
    ("what_is_set_renews_no_list", "R2b", "condition"),
    ("what_is_written_across_a_foreign_key_is_left_out", "R2d", "list"),
    ("what_is_written_across_a_foreign_key_is_left_out", "R2d", "condition"),
    ("rows_that_are_joined_are_left_out", "R2b", "join"),
    ("tables_that_are_joined_are_no_guards", "R1", "join"),
    ("tables_that_are_joined_are_no_guards", "R2b", "join"),
    ("columns_that_a_list_names_are_left_out", "R2b", "condition"),
    ("tokens_are_read_after_the_query", "R1", "condition"),
    ("any_snapshot_may_be_stored", "R6", "list"),
    ("any_snapshot_may_be_stored", "R6", "condition"),
]

ON_POSTGRESQL = [where for where in ON_EACH_VENDOR if where.values[0] == "postgres"]


def is_found(stage: Stage, race: str, *, form: str = "key", **options: Any) -> bool:
    """Whether an order of a race ends stale, or a program itself reads the past. No other error."""
    try:
        run_race(stage, RACES[race], form, **options)
    except Stale:
        return True
    except Failed as failed:
        if not re.search(r"ThePast: .*, not \d+", str(failed)):
            raise
        return True
    return False


@pytest.mark.parametrize(("alias", "isolation", "defect", "race", "cache"), CASES)
def test_a_planted_defect_is_found(
    stage: Stage, defect: str, race: str, cache: dict[str, Any]
) -> None:
    assert is_found(stage, race, defect=defect, **cache)


@pytest.mark.parametrize(
    ("alias", "isolation", "defect", "race", "form"),
    [
        pytest.param(*where.values, *case, marks=where.marks, id=f"{'-'.join(case)}-{where.id}")
        for case in FOUND_BY_LISTS
        for where in (ON_EACH_DATABASE if case[1] == "R6" else ON_EACH_VENDOR)
        if case[1] != "R6" or where.values[1] != "read committed"
    ],
)
def test_a_defect_is_found_by_lists(stage: Stage, defect: str, race: str, form: str) -> None:
    assert is_found(stage, race, form=form, defect=defect)


# Where the first writer has the code of before a migration.
FOUND_BY_OTHERS = [
    ("whoever_writes_is_taken_to_know", [("save", 1, 1000)]),
    ("what_was_stored_before_stays_when_a_reader_repairs_a_twin", [("save", 1, 1000)]),
    (
        "what_was_stored_before_stays_when_a_writer_repairs_a_twin",
        [("save", 1, 1000), ("update_of_another_column", 2, 2000)],
    ),
]


@pytest.mark.parametrize(("alias", "isolation"), ON_POSTGRESQL)
@pytest.mark.parametrize("knowledge", ["no_foreign_key", "one_foreign_key_less"])
@pytest.mark.parametrize(
    ("defect", "writes"), FOUND_BY_OTHERS, ids=[each[0] for each in FOUND_BY_OTHERS]
)
def test_a_defect_is_found_where_a_writer_knows_less(
    stage: Stage, defect: str, writes: list[tuple[Any, ...]], knowledge: str
) -> None:
    with pytest.raises(Stale):
        run_all_orders(
            stage, ("read", "condition"), *writes, warm=True, knowledge=knowledge, defect=defect
        )


@pytest.mark.parametrize(("alias", "isolation"), ON_POSTGRESQL)
@pytest.mark.parametrize(
    "defect",
    [
        "",
        "tokens_are_read_after_the_query",
        "an_entry_is_not_compared_with_its_tokens",
        "tokens_of_a_group_come_from_its_last_look",
        "a_renewal_keeps_the_token",
    ],
)
def test_a_defect_is_found_by_a_group_too(stage: Stage, defect: str) -> None:
    def run(reader: str, warm: bool) -> None:
        run_all_orders(
            stage,
            (reader, "key"),
            ("update_in_atomic", 1, 1000),
            warm=warm,
            again="read_together",
            defect=defect,
        )

    found = False
    for reader, warm in (("read_together", False), ("read_together_twice", True)):
        try:
            run(reader, warm)
        except Stale:
            found = True
    assert found is bool(defect)


SETTINGS = {defect: cache for defect, _, cache in FOUND_BY}


@pytest.mark.parametrize(("alias", "isolation"), ON_POSTGRESQL)
# The short race: there are thousands of orders of the others.
@pytest.mark.parametrize("race", ["R2b"])
@pytest.mark.parametrize("defect", SETTINGS)
def test_all_orders_find_no_more(stage: Stage, defect: str, race: str) -> None:
    """Of every defect, also of those that the reduced run does not find in this race."""
    options = {"defect": defect, **SETTINGS[defect]}
    assert is_found(stage, race, **options) is is_found(stage, race, reduced=False, **options)


@pytest.mark.parametrize(("alias", "isolation"), ON_POSTGRESQL)
def test_what_is_no_read_of_the_past_is_not_taken_for_one(stage: Stage) -> None:
    """A program that fails for another reason has found nothing."""
    with pytest.raises(Failed, match="ZeroDivisionError"):
        is_found(stage, "R2b", defect="a_program_fails")


@pytest.mark.parametrize(("alias", "isolation"), ON_POSTGRESQL)
def test_a_cache_that_stores_nothing_is_not_taken_for_a_right_one(stage: Stage) -> None:
    with pytest.raises(NeverCached):
        is_found(stage, "R2b", defect="nothing_is_stored")
