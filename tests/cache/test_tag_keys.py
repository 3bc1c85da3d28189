"""The keys of tags in a cache, and what is remembered of tags."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from django_querybudget.cache import surrogates, tags
from django_querybudget.cache.stores import redis, tag_keys

OF_TAGS: list[Callable[[str, str], object]] = [
    tag_keys.prefixed, redis._bulk_key, surrogates._name
]  # fmt: skip


def test_a_long_tag_stands_in_its_key_as_a_digest() -> None:
    longest = "t" * 150
    assert tag_keys.prefixed("", longest) == f"qb:t:{longest}"
    assert tag_keys.prefixed("", longest + "t") == f"qb:h:{tags.digest(longest + 't')}"


@pytest.mark.parametrize("spelled", OF_TAGS)
def test_long_tags_are_not_remembered(spelled: Callable[[str, str], object]) -> None:
    """A host's own tag may have any length: thousands of them would be kept."""
    spelled("", "u:warm")
    tracemalloc.start()
    try:
        for number in range(50):
            spelled("", f"u:{number}" + "t" * 100_000)
            tags.is_transient(f"u:{number}" + "t" * 100_000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


@pytest.mark.parametrize("spelled", OF_TAGS)
def test_a_short_one_is(spelled: Callable[[str, str], object]) -> None:
    assert spelled("", "u:short") is spelled("", "u:short")
