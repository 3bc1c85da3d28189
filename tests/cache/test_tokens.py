"""Tokens and marks: what two writers do to one tag."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.cache.tokens import (
    LONGEST_MARK,
    TagValue,
    all_same,
    is_known,
    is_token,
    new_token,
    new_writer,
    readable,
    same,
    token_time,
)

pytestmark = pytest.mark.once

NOW = 1_000_000


def test_tokens_are_unique_and_carry_their_time() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(token_time(token) > 1_600_000_000 for token in tokens)
    before = int(time.time() * 1000) / 1000
    assert before <= token_time(new_token()) <= time.time()
    assert token_time("1700000000123-ab") == 1_700_000_000.123
    assert token_time("what is no token") == float("inf")


def test_names_are_of_64_bits() -> None:
    assert all(is_token(new_token()) for _ in range(100))
    assert {len(new_token().partition("-")[2]) for _ in range(100)} == {16}
    writers = {new_writer() for _ in range(1000)}
    assert len(writers) == 1000
    assert {len(writer) for writer in writers} == {16}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that has several threads
def test_forked_processes_make_names_of_their_own() -> None:
    read, write = os.pipe()
    for _ in range(2):
        if not (child := os.fork()):
            os.write(write, new_token().encode() + b"\n")
            os._exit(0)
        os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as tokens:
        assert len({token.partition("-")[2] for token in tokens}) == 2


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("1700000000123-0123456789abcdef", True),
        ("1-a", True),
        ("1-a|w@{soon}", True),
        ("|w@{soon}", True),
        ("|dead@{past},w@{soon}", True),
        ("|w@{within_a_day}", True),
        ("|w@{beyond_a_day}", False),
        ("1-a|w@{past}", False),
        ("1-a|", False),
        ("|", False),
        ("", False),
        ("1-A", False),
        ("1-a ", False),
        ("1234567890123456-a", False),
        ("1-0123456789abcdef0", False),
        ("w@{soon}", False),
    ],
)
def test_what_is_ours(text: str, known: bool) -> None:
    now, day = int(time.time() * 1000), int(LONGEST_MARK * 1000)
    assert (
        is_known(
            text.format(
                soon=now + 60_000,
                past=now - 1,
                within_a_day=now + day - 60_000,
                beyond_a_day=now + day + 60_000,
            )
        )
        is known
    )


def test_a_mark_holds_until_its_deadline_and_no_longer_than_a_day() -> None:
    day = 86_400_000
    assert TagValue("t", (("a", NOW + 1),)).has_marks(NOW)
    assert not TagValue("t", (("a", NOW),)).has_marks(NOW)
    assert TagValue("t", (("a", NOW + day),)).has_marks(NOW)
    assert not TagValue("t", (("a", NOW + day + 1),)).has_marks(NOW)


@pytest.mark.parametrize(
    ("deadline", "read"),
    [
        ("7", 7),
        ("9" * 15, 10**15 - 1),
        ("9" * 16, 0),
        ("-7", 0),
        ("\u0667", 0),
        ("", 0),
        ("7@8", 0),
    ],
)
def test_a_deadline_is_a_number_of_fifteen_digits_at_most(deadline: str, read: int) -> None:
    assert TagValue.parse(f"t|a@{deadline},b@9").marks == (("a", read), ("b", 9))


@pytest.mark.parametrize("text", ["", "t", "t|a@5", "t|a@5,b@7", "|a@5"])
def test_a_value_reads_as_it_was_written(text: str) -> None:
    assert str(TagValue.parse(text)) == text


def test_a_mark_that_cannot_be_read_is_over() -> None:
    assert TagValue.parse("t|a@soon").marked("b", NOW, NOW + 1, "f") == TagValue(
        "f", (("b", NOW + 1),)
    )


@pytest.mark.parametrize(
    ("value", "expected"), [("1-a", True), ("", False), ("1-a|w@9", False), ("|w@9", False)]
)
def test_a_value_with_a_mark_is_not_read_under(value: str, expected: bool) -> None:
    assert readable(value) is expected


def test_an_entry_is_true_while_each_of_its_tags_has_the_same_token() -> None:
    entry = {"a": "1-a", "b": "1-b"}
    assert same(entry, {"a": "1-a", "b": "1-b", "c": "1-c"}, ["a", "b"])
    assert same(entry, {"a": "1-a"}, ["a"])
    assert not same(entry, {"a": "1-a"}, ["a", "b"])
    assert not same(entry, {"a": "1-a", "b": "2-b"}, ["a", "b"])
    marked = {"a": "1-a|w@9"}
    assert not same(marked, marked, ["a"])  # stored with a mark: as if it were not
    assert TagValue("t").deadline == 0
    assert not same({"a": ""}, {"a": ""}, ["a"])  # nothing is not the same as nothing


TAGS = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from(["", "1-a", "2-b", "1-a|w@9", "|w@9"]), max_size=3
)


@given(entry=TAGS, values=TAGS)
def test_the_quick_way_to_say_it_of_all_tags_says_the_same(
    entry: dict[str, str], values: dict[str, str]
) -> None:
    assert all_same(entry, values) is same(entry, values, entry)


def test_all_tags_are_the_same_only_if_each_is() -> None:
    entry = {"a": "1-a", "b": "1-b"}
    assert all_same(entry, entry)
    assert all_same(entry, {**entry, "c": "1-c"})
    assert not all_same(entry, {"a": "1-a"})
    assert not all_same(entry, {"a": "1-a", "b": "2-b"})
    assert not all_same({"a": ""}, {"a": ""})
    assert not all_same({"a": "1-a|w@9"}, {"a": "1-a|w@9"})


def test_each_writer_takes_its_own_mark_away() -> None:
    value = TagValue("t").marked("a", NOW, NOW + 5, "f1").marked("b", NOW, NOW + 6, "f2")
    assert value == TagValue("t", (("a", NOW + 5), ("b", NOW + 6)))
    assert value.deadline == NOW + 6
    value = value.renewed("a", NOW, "t2")
    assert value == TagValue("t2", (("b", NOW + 6),))
    assert value.renewed("b", NOW, "t3") == TagValue("t3")


def test_marking_again_moves_the_deadline() -> None:
    value = TagValue("t").marked("a", NOW, NOW + 5, "f").marked("a", NOW + 1, NOW + 9, "f")
    assert value == TagValue("t", (("a", NOW + 9),))


def test_a_lost_writer_may_have_committed_so_no_entry_survives_it() -> None:
    value = TagValue("t", (("dead", NOW - 1),)).marked("a", NOW, NOW + 5, "fresh")
    assert value == TagValue("fresh", (("a", NOW + 5),))


Change = int | None  # until when the writer marks; None: it renews
changes = st.none() | st.integers(NOW + 1, NOW + 9)
marks = st.fixed_dictionaries(
    {},
    # The two writers' own hold, if there are any; of the others, some may be lost.
    optional={name: st.integers(NOW + 1, NOW + 9) for name in "ab"}
    | {name: st.integers(NOW - 3, NOW + 9) for name in "cd"},
)


def changed(value: TagValue, writer: str, change: Change) -> TagValue:
    if change is None:
        return value.renewed(writer, NOW, "fresh")
    return value.marked(writer, NOW, change, "fresh")


@given(marks, changes, changes)
def test_of_two_writers_changes_no_one_can_tell_which_came_first(
    before: dict[str, int], first: Change, second: Change
) -> None:
    value = TagValue("t", tuple(before.items()))
    one = changed(changed(value, "a", first), "b", second)
    other = changed(changed(value, "b", second), "a", first)
    assert one.token == other.token
    assert sorted(one.marks) == sorted(other.marks)
