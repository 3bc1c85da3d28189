"""An entry's bytes; and what else may stand under our key."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from django_querybudget.cache.payload.entries import Corrupt, decoded, pack, unpack

PACKED = pack({"d:t:a": "1-x"}, {"default"}, {"rows": [1, "ü"]})


def test_it_comes_back() -> None:
    entry = unpack(PACKED)
    assert entry.tokens == {"d:t:a": "1-x"}
    assert entry.aliases == ["default"]
    assert entry.prepared(dict) == {"rows": [1, "ü"]}
    assert (entry.cost, entry.since, entry.until, entry.size) == (0.0, 0.0, None, len(PACKED))


def test_its_cost_and_times_come_back() -> None:
    entry = unpack(pack({"d:t:a": "1-x"}, (), [], cost=0.25, since=1000.5, until=1060.5))
    assert (entry.cost, entry.since, entry.until) == (0.25, 1000.5, 1060.5)


@pytest.mark.parametrize("routes", [None, {}, {"jobs.job": "x"}])
def test_what_the_routers_chose_comes_back(routes: dict[str, str] | None) -> None:
    assert unpack(pack({"d:t:a": "1-x"}, (), [], routes=routes)).routes == routes


@pytest.mark.parametrize(
    "stored",
    [
        b"", b"x", PACKED[:3], PACKED[:10], pickle.dumps({"a": 1}), b"qb4\n", b"qb4\n{}\n{}",
        b'qb4\n[{"a":1},[],[0,0,null],null]\n{}', b"qb4\n[{},[],[0,0,null],null]\n{}",
        b'qb4\n[{"a":"1"},[],[0,0],null]\n{}', b'qb4\n[{"a":"1"},[],["0",0,null],null]\n{}',
        b'qb4\n[{"a":"1"},[],[0,0,null],7]\n{}', b'qb4\n[{"a":"1"},[],[0,0,null]]\n{}',
        b'qb4\n[{"a":"1"},[],[0,0,null],null]', b"\xff" * 100,
    ],
)  # fmt: skip
def test_a_foreign_value_is_no_entry(stored: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(stored)


@pytest.mark.parametrize("length", range(len(PACKED) - 15, len(PACKED)))
def test_a_truncated_entry_is_none(length: int) -> None:
    with pytest.raises(Corrupt):
        unpack(PACKED[:length]).prepared(dict)


def test_the_same_bytes_are_decoded_once() -> None:
    made: list[object] = []
    entry = decoded("key", PACKED)
    for stored in (PACKED, bytes(bytearray(PACKED))):
        assert decoded("key", stored) is entry
        entry.prepared(made.append)
    assert made == [{"rows": [1, "ü"]}]


def test_other_bytes_under_the_key_are_decoded_anew() -> None:
    other = pack({"d:t:a": "2-y"}, {"default"}, {"rows": []})
    before = decoded("key", PACKED)
    assert decoded("key", other).tokens == {"d:t:a": "2-y"}
    assert decoded("key", PACKED) is not before


def test_what_was_decoded_first_goes_first_where_there_is_no_room(settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"DECODED_BYTES": 2 * len(PACKED)}}
    entries = {key: decoded(key, PACKED) for key in ("a", "b")}
    assert decoded("a", PACKED) is entries["a"]
    decoded("c", PACKED)
    assert decoded("a", PACKED) is entries["a"]
    assert decoded("b", PACKED) is not entries["b"]


def test_nothing_is_kept_where_nothing_may_be(settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"DECODED_BYTES": 0}}
    assert decoded("key", PACKED) is not decoded("key", PACKED)
