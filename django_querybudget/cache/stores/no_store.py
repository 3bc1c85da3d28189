"""No cache: for one that is not there (``querybudget.E020``), or must not be used (``W022``)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .access import Lease, Read, ReadMany
from .store import Store

__all__ = ["NoStore"]


class NoStore(Store):
    """A cache that is asked nothing and told nothing.

    It is not in ``CACHES``, or its backend cannot be imported; or what it does endangers the host's
    writes: a database cache in SQLite. Django's database cache sets a key in a transaction of its
    own, on the connection of its database. After an ``INSERT ... RETURNING`` on that connection
    whose row is not fetched yet, SQLite refuses the COMMIT, and the ROLLBACK that follows takes the
    host's row along.
    """

    has_pulse = False
    is_shared = False

    def read(self, key: str | None, wanted: Collection[str]) -> Read | None:
        return None

    def read_many(self, keys: Sequence[str], wanted: Collection[str]) -> ReadMany | None:
        return None

    def tokens(self, wanted: Collection[str]) -> dict[str, str] | None:
        return None

    def ensure(self, missing: Collection[str]) -> dict[str, str]:
        return {}

    def write(
        self, key: str, entry: bytes, timeout: float | None, lease: tuple[str, str] | None = None
    ) -> bool:
        return False

    def take(self, key: str, who: str, seconds: float) -> Lease:
        return Lease.TAKEN

    def drop(self, key: str, who: str) -> None:
        return None

    def mark(self, wanted: Collection[str], writer: str, timeout: float) -> bool:
        return False

    def renew(self, wanted: Collection[str], writer: str = "", *, marked: bool = False) -> bool:
        return False
