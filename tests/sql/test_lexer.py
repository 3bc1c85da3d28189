"""Tokens, as each vendor's own lexer sees them."""

from __future__ import annotations

import re
from itertools import islice
from re import _parser  # type: ignore[attr-defined]  # what a pattern is made of
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.sql import lexer
from django_querybudget.sql.lexer import Kind, readings

VENDORS = ("sqlite", "postgresql", "mysql")


def seen(sql: str, vendor: str) -> list[str]:
    """The tokens of the usual reading, names in brackets and strings in quotes."""
    shown = {Kind.NAME: "[{}]", Kind.STRING: "'{}'", Kind.OPEN: "<open>"}
    tokens = islice(readings(sql, vendor)[0], len(sql) + 1)  # no more, should it never end
    return [shown.get(kind, "{}").format(text) for kind, text in tokens]


@pytest.mark.parametrize(
    ("vendor", "sql", "expected"),
    [
        ("postgresql", r"'\' a", ["'\\'", "a"]),
        ("postgresql", r"E'\'' a", [r"'\''", "a"]),
        ("postgresql", "E'a'\n'\\'' b", ["'a'\n'\\''", "b"]),
        ("postgresql", "E'a' -- c\n  '\\'' b", ["'a' -- c\n  '\\''", "b"]),
        ("postgresql", "'it''s'", ["'it''s'"]),
        ("postgresql", "$$ ' $a$ $$ b", ["' ' $a$ '", "b"]),
        ("postgresql", "$a1$ $a$ $a1$ b", ["' $a$ '", "b"]),
        ("postgresql", "a$b$c $1 $2", ["a$b$c", "$1", "$2"]),
        ("postgresql", "/* a /* b */ c */ d", ["d"]),
        ("postgresql", "-- a\rb -- c\nd", ["b", "d"]),
        ("postgresql", "a -- '\n'b'", ["a", "'b'"]),
        ("postgresql", r'U&"jobs\005Fjob" "a""b"', ["[jobs_job]", '[a"b]']),
        ("postgresql", r'u&"\+000061\\b"', ["[a\\b]"]),
        ("postgresql", r'U&"\+10FFFF" U&"\+110000a"', ["[\U0010ffff]", "[\\a]"]),
        ("postgresql", r'"a\005Fb" "c""d"', [r"[a\005Fb]", '[c"d]']),
        ("postgresql", "a #> b", ["a", "#", ">", "b"]),
        ("postgresql", "a->>'b' @> c::int", ["a", "-", ">", ">", "'b'", "@", ">", "c", ":", ":",
                                              "int"]),
        ("postgresql", "f(%s, %(name)s), (%s, %s), (%s)",
         ["f", "(", "%s, %(name)s", ")", ", (%s, %s), (%s)"]),
        ("mysql", r"'\'' a", [r"'\''", "a"]),
        ("mysql", r'"\"" `a``b`', [r"'\"'", "[a`b]"]),
        ("mysql", "# ' \n a", ["a"]),
        ("mysql", "-- ' \n a --1", ["a", "-", "-", "1"]),
        ("mysql", "--\n a -- b", ["a"]),
        ("mysql", "a # b\rc", ["a"]),
        ("mysql", "/* /* */ a", ["a"]),
        ("mysql", "2fa_device @x @@global.y", ["2fa_device", "@x", "@@global.y"]),
        ("sqlite", r"'\' a", ["'\\'", "a"]),
        ("sqlite", '\ufeffa [b c] "d" `e`', ["a", "[b c]", "[d]", "[e]"]),
        ("sqlite", "-- a\rb\nc", ["c"]),
        ("sqlite", "a /* b", ["a"]),
        ("sqlite", "a ?1 :b", ["a", "?", "1", ":b"]),
        ("postgresql", "a /* b", ["a", "<open>"]),
        ("postgresql", "a $b$ c", ["a", "<open>"]),
        ("mysql", "a 'b", ["a", "<open>"]),
        ("mysql", "a /* b", ["a", "<open>"]),
        ("postgresql", "1, 2.5 a", ["1, 2.5", "a"]),
        ("sqlite", "1, 2.5 a", ["1, 2.5", "a"]),
        ("sqlite", "a [b", ["a", "<open>"]),
    ],
)  # fmt: skip
def test_tokens(vendor: str, sql: str, expected: list[str]) -> None:
    assert seen(sql, vendor) == expected


def test_a_backslash_before_a_quote_is_read_both_ways() -> None:
    for vendor in ("postgresql", "mysql"):
        kinds = [[kind for kind, _ in tokens] for tokens in readings(r"'\' a", vendor)]
        assert len(kinds) == 2
        assert sorted(found[-1] is Kind.OPEN for found in kinds) == [False, True]
    assert len(readings(r'"\" a', "mysql")) == 2
    ways = [[text for _, text in tokens] for tokens in readings(r"/*! a */ '\' b' c", "mysql")]
    assert ways == [
        [r"\' b", "c"],
        ["a", r"\' b", "c"],
        ["\\", "b", ""],
        ["a", "\\", "b", ""],
    ]


def test_an_executable_comment_is_read_as_one_that_runs_and_as_one_that_does_not() -> None:
    for sql in ("/*!50000 a */ b", "/*M!100000 a */ b", "/*! a */ b"):
        found = [[text for _, text in tokens] for tokens in readings(sql, "mysql")]
        assert found == [["b"], ["a", "b"]]
        assert len(readings(sql, "postgresql")) == 1


# Linear in the text

HOSTILE = {
    "comments": "/* a */ ", "comments that nest": "/* ", "line comments": "-- a\n",
    "dollar tags": "$a$ ", "dollars": "$", "quotes": "' ", "double quotes": '" ', "E": "E'a'\n",
    "escaped quotes": "\\'", "parentheses": "(", "percent": "%(", "brackets": "[",
    "a list of keys": "%s, ", "rows": ", (%s, %s)", "numbers": "1, ", "dashes": "-",
    "literals": "('a', NULL), ", "executable comments": "/*! a */ ", "words": "SELECT ",
    "carriage returns": "--\r", "names": '"a"."b", ',
}  # fmt: skip


def steps(sql: str, vendor: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a pattern is tried, and how many characters are looked through besides."""
    count = 0

    class Counted:
        def __init__(self, pattern: re.Pattern[str]) -> None:
            self.pattern = pattern

        def match(self, *args: Any) -> Any:
            nonlocal count
            count += 1
            return self.pattern.match(*args)

    for tokens in readings(sql, vendor):
        pattern = tokens.gi_frame.f_locals["pattern"]  # type: ignore[attr-defined]
        tokens.close()  # type: ignore[attr-defined]
        for _ in lexer._tokens(sql, Counted(pattern)):  # type: ignore[arg-type]
            pass
    return count


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_twice_the_text_takes_twice_the_steps(
    kind: str, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, twice = (steps(HOSTILE[kind] * number, vendor, monkeypatch) for number in (500, 1000))
    assert twice <= 2 * once + 4
    assert once <= 4 * len(HOSTILE[kind]) * 500 + 4


def test_no_pattern_goes_back_over_what_it_has_taken() -> None:
    patterns = [each for ways in lexer._PATTERNS.values() for each in ways]
    for pattern in (*patterns, *lexer._RUNNING, lexer._ESCAPED):
        tree = _parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
        assert repeats_that_give_back(tree) == []


def repeats_that_give_back(tree: Any) -> list[Any]:
    found = []
    for operation, argument in tree:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] > 8:
            found.append(argument)
        for part in argument if isinstance(argument, tuple | list) else [argument]:
            for each in part if isinstance(part, list) else [part]:
                if isinstance(each, _parser.SubPattern):
                    found += repeats_that_give_back(each)
    return found


@given(st.text(alphabet="aE$'\"`\\-/*#;[]%s(!&U \n\r\ufeff", max_size=40))
def test_any_text_is_read_to_its_end(sql: str) -> None:
    for vendor in VENDORS:
        for tokens in readings(sql, vendor):
            found = list(tokens)
            assert all(kind is not Kind.OPEN for kind, _ in found[:-1])
            assert sum(len(text) for _, text in found) <= len(sql)
