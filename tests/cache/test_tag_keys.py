"""The keys of tags in a cache."""

from __future__ import annotations

from django_querybudget.cache.stores import tag_keys


def test_long_tags_are_not_remembered() -> None:
    """A host's own tag may have any length: 8,192 of them would be kept."""
    before = tag_keys._remembered.cache_info().misses
    longest = "t" * tag_keys._LONGEST
    assert tag_keys.prefixed("", longest) == f"qb:t:{longest}"
    assert tag_keys._remembered.cache_info().misses == before + 1
    assert tag_keys.prefixed("", longest + "t").startswith("qb:h:")
    assert tag_keys._remembered.cache_info().misses == before + 1
