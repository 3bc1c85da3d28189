"""The parts of the long proofs: together they are all of them, and each has some of every proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.parts import FEW, left_out

pytestmark = pytest.mark.once


@dataclass(frozen=True)
class Case:
    """A test as it is collected, as far as it matters here."""

    nodeid: str
    mark: str = "slow"

    def get_closest_marker(self, name: str) -> object:
        return self if name == self.mark else None


MANY = [Case(f"test_a.py::test_many[{number}]") for number in range(FEW + 1)]
FEWER = [Case(f"test_a.py::test_few[{number}]") for number in range(FEW - 1)]
QUICK = [Case(f"test_a.py::test_quick[{number}]", "once") for number in range(FEW + 1)]
ITEMS: Any = [*MANY, *FEWER, *QUICK]


def test_the_parts_together_are_all_and_no_case_of_many_is_in_two() -> None:
    first, second = left_out(ITEMS, "1/2"), left_out(ITEMS, "2/2")
    assert first == {*MANY[1::2]}
    assert second == {*MANY[::2]}


def test_the_only_part_is_everything() -> None:
    assert left_out(ITEMS, "1/1") == set()


@pytest.mark.parametrize("part", ["", "2", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3"])
def test_what_names_no_part_is_refused(part: str) -> None:
    with pytest.raises(pytest.UsageError, match="names no part: 1/2 is the first of two"):
        left_out([], part)
