"""What is told of a tag by its name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_querybudget.cache import tags

TABLE = "a:b"  # a table's name may hold a colon
SPELLED = {
    "*": tags.everything("d"),
    "?": tags.unmodelled("d"),
    "t": tags.table_tag("d", TABLE),
    "b": tags.bulk_tag("d", TABLE),
    "r": tags.row_tag("d", TABLE, "7"),
    "s": tags.scope_tag("d", TABLE, "column", "value"),
    "S": tags.any_scope_tag("d", TABLE),
    "v": tags.value_tag("d", TABLE, "column", "value"),
    "V": tags.any_value_tag("d", TABLE),
    "w": tags.across_tag("d", TABLE, "column"),
    "c": tags.column_tag("d", TABLE, "column"),
    "k": tags.twin_tag("d", TABLE, "known"),
    "u": tags.user_tag("own"),
}
STRANGE = tags.user_tag("a:k:b")  # the host's own, with a name like a twin's


@pytest.mark.parametrize("kind", SPELLED)
def test_its_kind_is_told(kind: str) -> None:
    assert tags.kind_of(SPELLED[kind]) == tags.parsed(SPELLED[kind]).kind == kind


def test_each_is_another() -> None:
    assert len({*SPELLED.values()}) == len(SPELLED)


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        (tags.is_row, "r"),
        (tags.is_twin, "k"),
        (tags.is_said, "*u"),
        (tags.is_of_lists, "vVwck"),
        (tags.is_transient, "ursvVwck"),
    ],
)
def test_of_what_kinds_it_is(told: Callable[[str], bool], kinds: str) -> None:
    assert {kind for kind, tag in SPELLED.items() if told(tag)} == set(kinds)
    assert told(STRANGE) is ("u" in kinds)


def test_it_is_taken_apart() -> None:
    whole = {kind: (part.name, part.value) for kind, part in
             ((kind, tags.parsed(tag)) for kind, tag in SPELLED.items())}  # fmt: skip
    assert whole == {
        "*": ("", ""),
        "?": ("", ""),
        "t": (TABLE, ""),
        "b": (TABLE, ""),
        "r": (TABLE, "7"),
        "s": (TABLE, ""),
        "S": (TABLE, ""),
        "v": (TABLE, ""),
        "V": (TABLE, ""),
        "w": (TABLE, "column"),
        "c": (TABLE, "column"),
        "k": (TABLE, "known"),
        "u": ("own", ""),
    }
    assert tags.parsed(STRANGE) == tags.Parsed("u", "a:k:b")


def test_what_stands_for_it_and_for_all_of_its_kind() -> None:
    many = {"r": "bV", "s": "S", "v": "V"}
    for kind, tag in SPELLED.items():
        if kind != "u":
            assert tags.stand_ins(tag) == {SPELLED[each] for each in many.get(kind, "")}
    every = {f"{database}:*" for database in tags.every_database()}
    assert tags.stand_ins(SPELLED["u"]) == tags.stand_ins(STRANGE) == every != set()


def test_a_twin_is_of_a_table() -> None:
    assert tags.pair_of(SPELLED["k"]) == (SPELLED["t"], SPELLED["V"])


def test_a_digest_is_short_and_takes_any_text() -> None:
    found = {tags.digest(text) for text in ("a", "b", "\udc80", "a" * 1000)}
    assert {len(each) for each in found} == {32}
    assert len(found) == 4


def test_what_is_not_long_is_spelled_once() -> None:
    asked: list[str] = []
    spelled = tags.remembered(lambda prefix, tag: asked.append(tag) or prefix + tag)
    longest = "t" * tags.LONGEST
    for tag in (longest, longest, longest + "t", longest + "t"):
        assert spelled("p", tag) == f"p{tag}"
    assert asked == [longest, longest + "t", longest + "t"]
