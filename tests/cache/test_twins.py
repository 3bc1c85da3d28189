"""The order in which the scripts are given tags, and the twins of a cache of one process."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.cache import tags
from django_querybudget.cache.stores.twins import OnlyWriters, arranged, twins_in

_TABLES = [f"t{number}" for number in range(4)]
_OF_A_TABLE = [
    lambda name: tags.table_tag("d", name),
    lambda name: tags.bulk_tag("d", name),
    lambda name: tags.row_tag("d", name, "7"),
    lambda name: tags.twin_tag("d", name, "abc"),
    lambda name: tags.any_value_tag("d", name),
    lambda name: tags.value_tag("d", name, "a", "1"),
    lambda name: tags.column_tag("d", name, "b"),
]
_ALL = [make(name) for make in _OF_A_TABLE for name in _TABLES] + ["u:own", "u:a:k:b", "d:*"]


@given(st.lists(st.sampled_from(_ALL), unique=True), st.booleans())
def test_each_tag_is_there_once_and_a_twin_behind_its_table(
    wanted: list[str], writes: bool
) -> None:
    keys, kinds = arranged(wanted, writes=writes)
    assert len(keys) == len(kinds)
    assert max(Counter(keys).values(), default=1) == 1
    twins = twins_in(wanted)
    added = {each for twin in twins for each in tags.pair_of(twin)}
    assert set(wanted) <= set(keys) <= {*wanted, *added}
    text = kinds.decode()
    for place, (key, kind) in enumerate(zip(keys, text, strict=True)):
        if kind == "2":
            assert (keys[place - 1], text[place - 1]) == (tags.pair_of(key)[0], "1")
        elif kind in "34":
            twin = text.rindex("2", 0, place)
            assert "1" not in text[twin:place]
            assert tags.parsed(keys[twin]).name == tags.parsed(key).name
        else:
            assert kind == ("0" if tags.is_transient(key) else "1")


def test_a_table_has_another_token_each_time_that_what_is_known_of_it_changes() -> None:
    writers = OnlyWriters()
    one, other = tags.twin_tag("d", "t", "abc"), tags.twin_tag("d", "t", "def")
    seen = []
    for twin in (one, one, other, one):
        writers.take([twin])
        seen.append(writers.values([one, other]))
    assert seen[0] == seen[1]
    assert [set(each) for each in seen] == [{one}, {one}, {other}, {one}]
    assert seen[0][one] != seen[3][one]
