"""Which indexes are redundant to which, and the look-alikes that are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.indexes.definitions import IndexDefinition, IndexOrigin
from django_querybudget.indexes.redundancy import Coverage, find_redundant


def index(*columns: str, name: str = "", **options: object) -> IndexDefinition:
    plain = tuple(column.removeprefix("-") for column in columns)
    descending = tuple(column.startswith("-") for column in columns)
    return IndexDefinition(table="t", name=name, columns=plain, descending=descending, **options)


def found(*indexes: IndexDefinition) -> list[tuple[str, str, Coverage]]:
    return [(r.index.name, r.covered_by.name, r.relation) for r in find_redundant(indexes)]


class TestRedundant:
    def test_of_two_equal_ones_the_first_stays(self) -> None:
        assert found(index("a", name="one"), index("a", name="two")) == [
            ("two", "one", Coverage.EQUAL)
        ]

    @pytest.mark.parametrize(
        "origin",
        [
            IndexOrigin.PRIMARY_KEY,
            IndexOrigin.UNIQUE,
            IndexOrigin.FOREIGN_KEY,
            IndexOrigin.DB_INDEX,
        ],
    )
    def test_what_the_schema_implies_stays(self, origin: IndexOrigin) -> None:
        implied = index("a", name="implied", origin=origin)
        assert found(index("a", name="written"), implied) == [
            ("written", "implied", Coverage.EQUAL)
        ]

    def test_to_a_unique_one(self) -> None:
        unique = index("a", "b", name="unique", unique=True, origin=IndexOrigin.CONSTRAINT)
        assert found(unique, index("a", "b", name="plain")) == [("plain", "unique", Coverage.EQUAL)]

    def test_backwards_is_the_same(self) -> None:
        assert found(index("a", "-b", name="one"), index("-a", "b", name="two")) == [
            ("two", "one", Coverage.EQUAL)
        ]

    def test_left_prefix(self) -> None:
        assert found(index("a", name="short"), index("a", "b", name="long")) == [
            ("short", "long", Coverage.PREFIX)
        ]

    def test_prefix_of_the_shortest(self) -> None:
        assert found(
            index("a", "b", "c", name="longest"),
            index("a", name="short"),
            index("a", "c", name="c"),
        ) == [("short", "c", Coverage.PREFIX)]

    def test_included_columns_that_the_other_has_too(self) -> None:
        more = index("a", name="more", include=("b", "c"))
        assert found(index("a", name="less", include=("b",)), more) == [
            ("less", "more", Coverage.EQUAL)
        ]

    def test_equal_expressions(self) -> None:
        lower = {"expressions": True}
        assert found(
            index("lower(a)", name="1", **lower), index("lower(a)", name="2", **lower)
        ) == [("2", "1", Coverage.EQUAL)]


class TestNotRedundant:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (index("a"), index("b")),
            (index("a", "b"), index("b", "a")),
            (index("b"), index("a", "b")),
            (index("a", "b"), index("a", "-b")),
            (index("a"), index("a", method="hash")),
            (index("a"), index("a", condition="a > 3")),
            (index("a", condition="a > 3"), index("a", "b")),
            (index("a", condition="a > 3"), index("a", "b", condition="a > 4")),
            (index("a"), index("a", opclasses=("varchar_pattern_ops",))),
            (index("a", method="gin"), index("a", "b", method="gin")),
            (index("lower(a)", expressions=True), index("a")),
            (index("a", unique=True), index("a", "b")),
            (index("a", unique=True), index("a", "b", unique=True)),
            (index("a", include=("c",)), index("a", "b")),
            (index("a", unique=True, variant="deferrable"), index("a", unique=True)),
        ],
        ids=str,
    )
    def test_look_alikes(self, one: IndexDefinition, other: IndexDefinition) -> None:
        assert found(one, other) == []
        assert found(other, one) == []

    def test_a_unique_one_is_not_redundant_to_a_plain_one(self) -> None:
        unique, plain = index("a", name="unique", unique=True), index("a", name="plain")
        assert found(unique, plain) == [("plain", "unique", Coverage.EQUAL)]
        assert found(plain, unique) == [("plain", "unique", Coverage.EQUAL)]

    def test_other_tables(self) -> None:
        other = IndexDefinition(table="u", columns=("a",))
        assert found(index("a"), other) == []


definitions = st.builds(
    index,
    st.sampled_from(["a", "b", "-a", "-b"]),
    *[st.sampled_from(["c", "-c", "d"])] * 1,
    unique=st.booleans(),
    condition=st.sampled_from(["", "x"]),
    origin=st.sampled_from(list(IndexOrigin)),
) | st.builds(index, st.sampled_from(["a", "b", "-a"]), unique=st.booleans())


@given(st.lists(definitions, max_size=6))
def test_to_drop_all_that_is_redundant_loses_nothing(indexes: list[IndexDefinition]) -> None:
    """Whatever was indexed, unique or not, still is by one that stays."""
    indexes = [
        IndexDefinition(**{**vars_of(each), "name": str(n)}) for n, each in enumerate(indexes)
    ]
    gone = {redundancy.index.name for redundancy in find_redundant(indexes)}
    kept = [each for each in indexes if each.name not in gone]
    for each in indexes:
        assert any(
            other.condition == each.condition
            and other.columns[: len(each.columns)] == each.columns
            and ((other.unique and len(other.columns) == len(each.columns)) or not each.unique)
            for other in kept
        )
    assert find_redundant(kept) == []


def vars_of(definition: IndexDefinition) -> dict[str, object]:
    names = ("table", "columns", "descending", "origin", "unique", "condition")
    return {name: getattr(definition, name) for name in names}
