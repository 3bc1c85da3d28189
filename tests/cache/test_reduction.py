"""What :mod:`tests.cache.orders` leaves out is repetition: orders said to be one are one.

All orders of short programs are run. Each of their traces is among those that the reduced
exploration runs, once; and all orders of one trace lead to the same: what was read during the
order, when the reads began, and what everyone reads after it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cache.footprints import Footprint, changes, commands_in, of_commands, of_statement, reads
from tests.cache.orders import trace
from tests.cache.races import RACES
from tests.cache.stage import ON_EACH_DATABASE, Stage, run_all_orders


@pytest.mark.slow
@pytest.mark.parametrize("race", ["R2b", "R3", "R6", "R7"])
@pytest.mark.parametrize(("alias", "isolation"), ON_EACH_DATABASE)
def test_all_orders_of_a_trace_lead_to_the_same(
    stage: Stage, race: str, record_property: Any
) -> None:
    chosen = RACES[race]
    program = {"R3": "update_in_atomic"}.get(race, chosen.write)
    found: dict[bool, dict[Any, list[Any]]] = {}
    for reduced in (True, False):
        outcomes: list[Any] = []
        run_all_orders(
            stage,
            ("read_in_atomic" if race == "R6" else "read", "key"),
            (program, 1, 1000),
            warm=chosen.warm,
            snapshots=chosen.snapshot,
            reduced=reduced,
            outcomes=outcomes,
        )
        found[reduced] = {}
        for order, outcome in outcomes:
            found[reduced].setdefault(trace(order), []).append(outcome)
        if race == "R2b" and not reduced:
            _check_arrivals([[step.name for step in order] for order, _ in outcomes])
    assert all(len(orders) == 1 for orders in found[True].values())
    assert found[True].keys() == found[False].keys()
    for same, orders in found[False].items():
        assert all(outcome == found[True][same][0] for outcome in orders), same
    everything = sum(map(len, found[False].values()))
    assert everything > 2 * len(found[True])
    record_property("orders", everything + len(found[True]))


def _check_arrivals(orders: list[list[str]]) -> None:
    """The entry that a reader sends, and does not wait for, arrives before a write and after it."""
    places = [(names, names.index("reader's message")) for names in orders
              if "reader's message" in names]  # fmt: skip
    assert any("writer1" not in names[:place] for names, place in places)
    assert any("writer1" not in names[place:] for names, place in places)


def test_footprints() -> None:
    reading = of_commands([[b"MGET", b"entry", b"tag"]])
    storing = of_commands([[b"SET", b"entry", b"...", b"px", b"1"]])
    renewing = of_commands([[b"EVALSHA", b"...", b"1", b"tag", b"renew"]])
    assert reading.depends_on(storing)
    assert storing.depends_on(reading)
    assert reading.depends_on(renewing)
    assert not reading.depends_on(reading)
    assert not storing.depends_on(renewing)
    marking = of_commands([[b"EVALSHA", b"...", b"1", b"tag", b"mark"]])
    ensuring = of_commands([[b"EVAL", b"...", b"1", b"tag", b"0-0"]])
    assert renewing.depends_on(reading)
    assert not marking.depends_on(renewing)
    assert marking.depends_on(ensuring)
    assert ensuring.depends_on(marking)
    assert ensuring.depends_on(ensuring)
    assert of_commands([[b"FLUSHDB"]]).depends_on(storing)
    assert renewing.depends_on(of_commands([[b"FLUSHDB"]]))
    assert not of_commands([[b"PING"]]).depends_on(renewing)


def test_footprints_of_statements() -> None:
    def of(word: str, *, in_transaction: bool = False, has_written: bool = False) -> Footprint:
        return of_statement(word, in_transaction=in_transaction, has_written=has_written)

    assert of("SELECT").depends_on(of("UPDATE"))
    assert not of("SELECT").depends_on(of("UPDATE", in_transaction=True))
    assert of("SELECT").depends_on(of("COMMIT", has_written=True))
    assert not of("SELECT").depends_on(of("COMMIT"))
    assert of("UPDATE", in_transaction=True).depends_on(of("UPDATE", in_transaction=True))
    assert of("ROLLBACK", has_written=True).depends_on(of("DELETE"))
    assert of("MERGE").depends_on(of("SELECT"))  # whatever is not known writes


def test_a_read_that_begins_looks_at_who_has_returned() -> None:
    assert reads("returned:*").depends_on(changes("returned:writer1"))
    assert not changes("returned:writer1").depends_on(changes("returned:writer2"))


def test_commands_that_go_out_together_are_taken_apart() -> None:
    packed = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n*2\r\n$3\r\nGET\r\n$1\r\n\n\r\n"
    assert commands_in(packed) == [[b"CLIENT", b"REPLY", b"SKIP"], [b"GET", b"\n"]]
