"""Which repeats are no loop over rows but one result, read or written piece by piece."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

from django_querybudget.records import RawRecord

__all__ = ["hashable", "is_batched", "is_paging", "is_ranged"]

_LIMITS = re.compile(r"\b(LIMIT|OFFSET)\s+(\d+|%s)", re.IGNORECASE)
_AFTER_KEY = re.compile(r'"\s*[<>]=?\s*(\?|\()', re.IGNORECASE)
_PLACES = re.compile(r'(?:((?:["`]\w+["`]\.)?["`]\w+["`])\s*([<>=]+)\s*)?%s')
_ORDERED_PAGE = re.compile(r"\bORDER BY\b.*\bLIMIT \?", re.IGNORECASE | re.DOTALL)
_LIST = re.compile(r"\bIN \((%s(?:, %s)*)\)", re.IGNORECASE)
_RANGE = re.compile(
    r"""["`](?P<column>\w+)["`]\s+(?:BETWEEN\s+%s\s+AND\s+%s|>=?\s+%s\s+AND\s+"""
    r"""(?:["`]\w+["`]\.)?["`](?P=column)["`]\s+<=?\s+%s)""",
    re.IGNORECASE,
)


def is_paging(records: list[RawRecord], shape: str) -> bool:
    """Whether the repeats read one result page by page, by offset or after the last key."""
    # By text: the repeats of a loop have few.
    texts = {raw[0] for raw in records}
    pages = {found[-1] for sql in texts if (found := _LIMITS.findall(sql))}
    if len(pages) > 1:
        bare = {sql: _LIMITS.sub("", sql) for sql in texts}
        if len({(bare[raw[0]], hashable(raw[1])) for raw in records}) == 1:
            return True
    return bool(
        _ORDERED_PAGE.search(shape)
        and _AFTER_KEY.search(shape)
        and len({_beside_key(raw) for raw in records}) == 1
    )


def _beside_key(raw: RawRecord) -> Hashable:
    """Return the parameters of the columns that no ``<`` or ``>`` compares.

    Those of one result's pages are the same: one that varies is a row's of a loop, which asks for
    the newest before a day, say, of each.
    """
    sql, params = raw[0], raw[1]
    places = [(found[1], found[2]) for found in _PLACES.finditer(sql)]
    if not isinstance(params, tuple) or len(places) != len(params):
        return None
    keys = {column for column, operator in places if column and operator[0] in "<>"}
    return hashable(
        tuple(each for (column, _), each in zip(places, params, strict=True) if column not in keys)
    )


def is_batched(records: Sequence[RawRecord]) -> bool:
    """Whether the repeats divide one list of values between them: ``filter(pk__in=ids[:500])``.

    All as long but for the last, no value in two of them, and nothing else that differs: a list of
    each row's own, in a loop over rows, has mostly another length than the next one's.
    """
    lists = [_only(_LIST, raw) for raw in records]
    found = [each for each in lists if each is not None]
    if len(found) < len(lists) or len({rest for _, rest, _ in found}) > 1:
        return False
    sizes = [len(values) for values, *_ in found]
    different = {hashable(value) for values, *_ in found for value in values}
    return (
        sizes[0] > 1
        and set(sizes[:-1]) == {sizes[0]}
        and sizes[-1] <= sizes[0]
        and len(different) == sum(sizes)
    )


def is_ranged(records: Sequence[RawRecord], key: str | None) -> bool:
    """Whether each of the repeats takes the range of the primary key that follows the last one's.

    ``key`` is the key's column.
    """
    ranges = [_only(_RANGE, raw) for raw in records]
    found = [each for each in ranges if each is not None and each[2] == key]
    if key is None or len(found) < len(ranges) or len({rest for _, rest, _ in found}) > 1:
        return False
    bounds = [values for values, *_ in found]
    if any(type(bound) is not int for values in bounds for bound in values):
        return False
    # One apart where both bounds belong to the range.
    return all(0 <= following[0] - former[1] <= 1 for former, following in pairwise(bounds))


def _only(
    pattern: re.Pattern[str], raw: RawRecord
) -> tuple[tuple[Any, ...], Hashable, str | None] | None:
    """Return the parameters of the one place in the SQL that ``pattern`` matches, then all else.

    All else is the text without that place and the other parameters; last, the column if the
    pattern names one. None where there is no such place, or more than one.
    """
    sql, params = raw[0], raw[1]
    matches = list(pattern.finditer(sql))
    if len(matches) != 1 or not isinstance(params, tuple) or sql.count("%s") != len(params):
        return None
    match = matches[0]
    start = sql.count("%s", 0, match.start())
    end = start + match[0].count("%s")
    rest = (sql[: match.start()], sql[match.end() :], hashable(params[:start] + params[end:]))
    return params[start:end], rest, match.groupdict().get("column")


def hashable(params: Any) -> Hashable:
    """Return what stands for parameters in a set."""
    try:
        return repr(params)
    except Exception:  # noqa: BLE001 - the project's own class: no reason to fail here
        return tuple(map(id, params)) if isinstance(params, tuple) else id(params)
