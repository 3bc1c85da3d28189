"""Surrogate keys: what an answer depends on, under names that a CDN can be told to purge.

A cached view's response carries them in a header, and the signal ``dependencies_renewed`` gives
those that a commit has renewed. They are the tags themselves, hashed: a tag holds names of tables
and keys of rows.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Any

from django_querybudget.conf import conf

from . import tags

__all__ = ["add_header", "name_of", "names_of"]

MOST = 200
"""How many names a header holds before tables stand for their rows: 3.4 kB, and CDNs take 16 kB."""

MOST_GROUPS = 32
"""What every cache takes of ``Cache-Groups``: RFC 9875, section 2."""


@tags.remembered
def _name(prefix: str, tag: str) -> str:
    return blake2b(f"{prefix} {tag}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def name_of(tag: str) -> str:
    """Return 16 hexadecimal digits that stand for a tag, the same in every process."""
    return _name(conf.CACHE.TOKEN_PREFIX, tag)


def names_of(found: Collection[str], most: int = MOST) -> list[str]:
    """Return the names of the tags; of more than ``most``, rows' are replaced by their tables'.

    So are those of lists always: no CDN tells who has written.
    """
    found = {_table_of(tag) if tags.is_of_lists(tag) else tag for tag in found}
    if len(found) > most:
        found = {_table_of(tag) for tag in found}
    return sorted(map(name_of, found))


def _table_of(tag: str) -> str:
    """Return the tag of the table that a row's or a scope's is of: every write to it renews it."""
    part = tags.parsed(tag)
    if part.kind not in ("r", "s", "S", "v", "V", "c", "k"):
        return tag
    return tags.table_tag(tag.split(":", 1)[0], part.name)


def add_header(response: Any, header: str, found: Collection[str]) -> None:
    """Tell in ``header`` what a response depends on, after what it tells already."""
    names = names_of(found, MOST_GROUPS if header == "Cache-Groups" else MOST)
    if header == "Cache-Groups":
        names = [f'"{name}"' for name in names]
    separator = " " if header in ("Surrogate-Key", "xkey") else ", "
    own = response.headers.get(header)
    response.headers[header] = separator.join([own, *names] if own else names)
