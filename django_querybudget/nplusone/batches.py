"""Which repeats are no loop over rows but one result, read or written piece by piece."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

from django_querybudget.recording.raw import RawRecord

__all__ = ["hashable", "is_batched", "is_inserted_in_batches", "is_paging", "is_ranged"]

_PLAIN: tuple[type, ...] = (str, int, float, bytes, date, time, timedelta, Decimal, UUID)
_DRIVERS_MODULES = {"builtins", "ipaddress", "psycopg.types.json", "psycopg2.extras"}
_LIMITS = re.compile(r"\b(LIMIT|OFFSET)\s+(\d+|%s)", re.IGNORECASE)
_AFTER_KEY = re.compile(r'"\s*[<>]=?\s*(\?|\()', re.IGNORECASE)
_PLACES = re.compile(r'(?:((?:["`]\w+["`]\.)?["`]\w+["`])\s*([<>=]+)\s*)?%s')
_ORDERED_PAGE = re.compile(r"\bORDER BY\b.*\bLIMIT \?", re.IGNORECASE | re.DOTALL)
_LIST = re.compile(r"\bIN\s*\(\s*(%s(?:\s*,\s*%s)*)\s*\)", re.IGNORECASE)
_ARRAY = re.compile(r"(?:=\s*ANY\s*\(\s*%s\s*\)|\bIN\s+%s)", re.IGNORECASE)
_LITERALS = re.compile(r"\bIN\s*\(\s*(\d+(?:\s*,\s*\d+)*)\s*\)", re.IGNORECASE)
_INSERT = re.compile(r"INSERT\b", re.IGNORECASE)
_RANGE = re.compile(
    r"""["`]?\b(?P<column>\w+)["`]?\s+(?:BETWEEN\s+%s\s+AND\s+%s|>=?\s+%s\s+AND\s+"""
    r"""(?:["`]?\w+["`]?\.)?["`]?(?P=column)["`]?\s+<=?\s+%s)""",
    re.IGNORECASE,
)


def is_paging(records: list[RawRecord], shape: str) -> bool:
    """Whether the repeats read one result page by page, by offset or after the last key."""
    # By text: the repeats of a loop have few.
    texts = {raw.sql for raw in records}
    pages = {found[-1] for sql in texts if (found := _LIMITS.findall(sql))}
    if len(pages) > 1:
        bare = {sql: _LIMITS.sub("", sql) for sql in texts}
        if len({(bare[raw.sql], hashable(raw.params)) for raw in records}) == 1:
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
    sql, params = raw.sql, raw.params
    places = [(found[1], found[2]) for found in _PLACES.finditer(sql)]
    if not isinstance(params, tuple) or len(places) != len(params):
        return None
    keys = {column for column, operator in places if column and operator[0] in "<>"}
    return hashable(
        tuple(each for (column, _), each in zip(places, params, strict=True) if column not in keys)
    )


def is_batched(records: Sequence[RawRecord]) -> bool:
    """Whether the repeats divide one list of values between them: ``filter(pk__in=ids[:500])``.

    All as long but for the last, no value in two of them, and nothing else that differs. That a
    list of each row's own looks so too is for :mod:`.source.loops`.
    """
    lists = [_list_of(raw) for raw in records]
    found = [each for each in lists if each is not None]
    if len(found) < len(lists) or len({rest for _, rest in found}) > 1:
        return False
    different = {hashable(value) for values, _ in found for value in values}
    sizes = [len(values) for values, _ in found]
    return _are_cut_from_one(sizes) and len(different) == sum(sizes)


def is_inserted_in_batches(records: Sequence[RawRecord]) -> bool:
    """Whether the repeats insert one list of rows: several rows each, as many but for the last."""
    texts = [raw.sql for raw in records]
    if any(raw.many or not _INSERT.match(raw.sql) for raw in records):
        return False
    return texts[0].count("), (") > 0 and _are_cut_from_one([sql.count("%s") for sql in texts])


def _are_cut_from_one(sizes: list[int]) -> bool:
    return sizes[0] > 1 and set(sizes[:-1]) == {sizes[0]} and sizes[-1] <= sizes[0]


def _list_of(raw: RawRecord) -> tuple[tuple[Any, ...], Hashable] | None:
    """Return the values of the one list in the SQL, then all else."""
    only = _only(_LIST, raw)
    if only is not None:
        return only[:2]
    sql, params = raw.sql, raw.params
    array = _only(_ARRAY, raw)  # PostgreSQL's: the list is one parameter.
    if array is not None:
        (values,) = array[0]
        return (tuple(values), array[1]) if type(values) in (list, tuple) else None
    matches = [] if params else list(_LITERALS.finditer(sql))
    if len(matches) != 1:
        return None
    match = matches[0]
    return tuple(match[1].split(",")), (sql[: match.start()], sql[match.end() :])


def is_ranged(records: Sequence[RawRecord], key: str | None) -> bool:
    """Whether each of the repeats takes the range of the primary key that follows the last one's.

    ``key`` is the key's column; any, if it is None, for SQL of the project's.
    """
    ranges = [_only(_RANGE, raw) for raw in records]
    found = [each for each in ranges if each is not None and key in (None, each[2])]
    if len(found) < len(ranges) or len({rest for _, rest, _ in found}) > 1:
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
    sql, params = raw.sql, raw.params
    matches = list(pattern.finditer(sql))
    if len(matches) != 1 or not isinstance(params, tuple | list) or sql.count("%s") != len(params):
        return None
    match = matches[0]
    start = sql.count("%s", 0, match.start())
    end = start + match[0].count("%s")
    rest = (sql[: match.start()], sql[match.end() :], hashable((*params[:start], *params[end:])))
    return tuple(params[start:end]), rest, match.groupdict().get("column")


def hashable(params: Any) -> Hashable:
    """Return what stands for parameters in a set; an object of the project's for itself."""
    if type(params) in (tuple, list):
        return tuple(map(hashable, params))
    if type(params) is dict:
        return tuple((key, hashable(value)) for key, value in params.items())
    for plain in _PLAIN:
        if issubclass(type(params), plain):  # A member of an enumeration, a safe string.
            return str(plain.__repr__(params))  # type: ignore[call-arg]  # the class' own, not the object's
    return repr(params) if type(params).__module__ in _DRIVERS_MODULES else id(params)
