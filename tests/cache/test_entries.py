"""An entry's bytes; and what else may stand under our key."""

from __future__ import annotations

import pickle

import pytest

from django_querybudget.cache.entries import Corrupt, pack, unpack

PACKED = pack({"d:t:a": "1-x"}, {"default"}, {"rows": [1, "ü"]})


def test_it_comes_back() -> None:
    entry = unpack(PACKED)
    assert entry.tokens == {"d:t:a": "1-x"}
    assert entry.aliases == ["default"]
    assert entry.content() == {"rows": [1, "ü"]}


@pytest.mark.parametrize(
    "stored",
    [
        b"", b"x", PACKED[:3], PACKED[:10], pickle.dumps({"a": 1}), b"qb1\n", b"qb1\n{}\n{}",
        b'qb1\n[{"a":1},[]]\n{}', b"qb1\n[{},[]]\n{}", b'qb1\n[{"a":"1"},[]]', b"\xff" * 100,
    ],
)  # fmt: skip
def test_a_foreign_value_is_no_entry(stored: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(stored)


@pytest.mark.parametrize("length", range(len(PACKED) - 15, len(PACKED)))
def test_a_truncated_entry_is_none(length: int) -> None:
    with pytest.raises(Corrupt):
        unpack(PACKED[:length]).content()
