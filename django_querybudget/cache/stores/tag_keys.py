"""Under which key of a cache the value of a tag stands, and for how long."""

from __future__ import annotations

import re

from django_querybudget.cache import tags
from django_querybudget.conf import conf

from .pulse import PULSE

__all__ = ["TRANSIENT_TIMEOUT", "prefixed", "tag_key"]

TRANSIENT_TIMEOUT = 24 * 3600
"""How long the token of a row, of a scope's value or of the host's own tag lives, in seconds."""

# What every cache takes in a key, with room for prefixes: memcached's longest has 250 bytes.
_SAFE = re.compile(r"[\x21-\x7e]{1,150}")


@tags.remembered
def prefixed(prefix: str, tag: str) -> str:
    """Return the cache key of a tag, with ``TOKEN_PREFIX`` as given."""
    if tag == PULSE:
        return f"{prefix}qb:pulse"
    return f"{prefix}qb:t:{tag}" if _SAFE.fullmatch(tag) else f"{prefix}qb:h:{tags.digest(tag)}"


def tag_key(tag: str) -> str:
    """Return the cache key of a tag; a tag that some cache cannot have in a key is hashed."""
    return prefixed(conf.CACHE.TOKEN_PREFIX, tag)
