"""What a condition's text tells: the columns, the parameters, and which values pin a column."""

from __future__ import annotations

import tracemalloc

import pytest

from django_querybudget.cache.where_text import NotPlain, Where, unquoted

Pins = dict[str, tuple[int, ...]]


def read(text: str) -> Where:
    return Where(text, '"t"')


DEEP = "(" * 9 + '"t"."a" = %s' + ")" * 9


@pytest.mark.parametrize(
    ("text", "pins", "columns", "number"),
    [
        ('"t"."a" = %s', {"a": (0,)}, "a", 1),
        ('("t"."a" = %s)', {"a": (0,)}, "a", 1),
        ('"t"."a" IN (%s)', {"a": (0,)}, "a", 1),
        ('"t"."a" IN (%s, %s, %s)', {"a": (0, 1, 2)}, "a", 3),
        ('("t"."b" > %s AND "t"."a" = %s)', {"a": (1,)}, "ab", 2),
        ('("t"."a" = %s AND ("t"."b" = %s AND "t"."c" = %s))',
         {"a": (0,), "b": (1,), "c": (2,)}, "abc", 3),
        ('("t"."b" BETWEEN %s AND %s AND "t"."a" = %s)', {"a": (2,)}, "ab", 3),
        ('("t"."b" IS NULL AND "t"."c" IS NOT NULL AND "t"."a" = %s)', {"a": (0,)}, "abc", 1),
        ('("t"."a" = %s AND "t"."b")', {"a": (0,)}, "ab", 1),
        ('("t"."a" = %s AND NOT "t"."b")', {"a": (0,)}, "ab", 1),
        ('("t"."a" = %s AND NOT ("t"."b" = %s OR "t"."c" = %s))', {"a": (0,)}, "abc", 3),
        ('("t"."a" = %s AND ("t"."b" = %s OR "t"."c" IN (%s, %s)))', {"a": (0,)}, "abc", 4),
        ('("t"."a" = %s AND "t"."b" > "t"."c")', {"a": (0,)}, "abc", 1),
        ('("t"."a" = %s AND "t"."b" = ("t"."c"))', {"a": (0,)}, "abc", 1),
        *((f'("t"."a" = %s AND "t"."b" {sign} %s)', {"a": (0,)}, "ab", 2)
          for sign in ("<>", "<", ">", "<=", ">=")),
        # What pins nothing.
        ('("t"."a" = %s OR "t"."b" = %s)', {}, "ab", 2),
        ('NOT ("t"."a" = %s)', {}, "a", 1),
        ('NOT "t"."a" = %s', {}, "a", 1),
        ('"t"."a" = "t"."b"', {}, "ab", 0),
        ('"t"."a" IS NULL', {}, "a", 0),
        (DEEP, {"a": (0,)}, "a", 1),
        ("NOT " * 9 + '"t"."a" = %s', {}, "a", 1),
    ],
)  # fmt: skip
def test_a_condition_is_read(text: str, pins: Pins, columns: str, number: int) -> None:
    found = read(text)
    assert dict(found.pins()) == pins
    assert found.columns == set(columns)
    assert found.number == number


@pytest.mark.parametrize(
    "text",
    [
        "", "%s", '"t"."a"  = ', '"t"."a" = ', '"a" = %s', '"u"."a" = %s', '"t"."a" = 1',
        '"t"."a" = %s AND', 'AND "t"."a" = %s', '"t"."a" = %s "t"."b" = %s',
        '"t"."a" = %s OR "t"."b" = %s AND "t"."c" = %s',
        '"t"."a" = %s AND "t"."b" = %s OR "t"."c" = %s',
        '("t"."a" = %s', '"t"."a" = %s)', '"t"."a" = (%s)', '"t"."a" = ("t"."b"',
        '"t"."a" IN %s', '"t"."a" IN ()', '"t"."a" IN (%s', '"t"."a" IN (%s %s)',
        '"t"."a" IN (%s,)', '"t"."a" IN ("t"."b")', '"t"."a" IS %s', '"t"."a" IS NOT %s',
        '"t"."a" IS', '"t"."a" BETWEEN %s', '"t"."a" BETWEEN %s OR %s', '"t"."a" BETWEEN %s AND',
        '"t"."a" LIKE %s', '"t"."a" = %s; DELETE', "\"t\".\"a\" = '%s'", '"t"."a" = %s -- ',
        '"t"."a" = %s RETURNING "t"."b"', '"t"."a" == %s', '"t"."a" = %s::int', 'a = %s',
        '"t"."a" = LOWER(%s)', 'EXISTS ("t"."a" = %s)', "NOT", 'NOT AND "t"."a" = %s', '"t"."a" %s',
        "(" + DEEP + ")" * 2, "((" + DEEP + "))", "NOT " * 11 + '"t"."a" = %s',
    ],
)  # fmt: skip
def test_what_is_not_known_to_the_letter_is_not_read(text: str) -> None:
    with pytest.raises(NotPlain):
        read(text)


@pytest.mark.parametrize("word", ["NOT", "IN", "AND", "(", "=", "%s"])
def test_a_column_may_have_the_name_of_a_word(word: str) -> None:
    if word == "%s":  # the ORM doubles it
        with pytest.raises(NotPlain):
            read(f'"t"."{word}" = %s')
        return
    assert dict(read(f'("t"."{word}" = %s AND "t"."b" = %s)').pins()) == {word: (0,), "b": (1,)}
    assert dict(read(f'("t"."b" = "t"."{word}" AND "t"."a" = %s)').pins()) == {"a": (0,)}


def test_long_conditions_are_not_read() -> None:
    """A condition of 200 words is the longest: what is read is remembered of each text."""
    longest = ", ".join(["%s"] * 98)
    assert read(f'NOT "t"."a" IN ({longest})').number == 98
    assert dict(read(f'"t"."a" IN ({longest})').pins()) == {"a": tuple(range(98))}
    with pytest.raises(NotPlain):
        read(f'"t"."a" IN ({longest}, %s)')


def test_megabytes_are_not_taken_apart() -> None:
    text = '"t"."a" IN (' + "%s, " * 1_000_000 + "%s)"
    tracemalloc.start()
    try:
        with pytest.raises(NotPlain):
            read(text)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "is_called"), [('"a"', "a"), ("`a`", "a"), ('"a""b"', 'a"b')])
def test_a_name_without_its_quotes(name: str, is_called: str) -> None:
    assert unquoted(name) == is_called
