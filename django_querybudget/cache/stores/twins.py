"""Twins: whether only those have written to a table who know the same columns of it.

An entry of a list that a foreign key pins does not depend on its table's tag. It hears of a write
by tags that a writer renews only if it knows the foreign key: a process with the code of before a
migration, or another project on the same tables, does not. Such a writer renews the table's tag.

So a table's tag has a *twin* for each knowledge of its columns. Who has this knowledge marks and
renews both in one step, so that their values are equal, to the letter and with all marks. Anybody
else changes one of them. As long as they differ, no such list is read from the cache or stored.
Whoever finds them different and changes the twin renews, in the same step, the tag of any value,
which all of these lists depend on. So what was stored before is dead when they are equal again.

This needs a server that changes all tags of one write in one step. In a cache of one process, all
writers know what this one knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import count

from django_querybudget.cache import tags

__all__ = ["SAME", "OnlyWriters", "arranged", "settled", "twins_in", "with_tables"]

SAME = "0-0"
"""What a twin is read as, if it equals its table's tag."""


def twins_in(wanted: Iterable[str]) -> set[str]:
    """Return the twins among tags."""
    return set(filter(tags.is_twin, wanted))


def with_tables(wanted: Collection[str], twins: Collection[str]) -> list[str]:
    """Return the tags to read: ``wanted``, and the tables' whose twins are among them."""
    asked = dict.fromkeys(wanted)
    asked.update(dict.fromkeys(tags.pair_of(twin)[0] for twin in twins))
    return list(asked)


def settled(values: dict[str, str], twins: Collection[str]) -> dict[str, str]:
    """Let each twin be :data:`SAME` in the values that were read, or be missing."""
    for twin in twins:
        value = values.pop(twin, "")
        if value and value == values.get(tags.pair_of(twin)[0]):
            values[twin] = SAME
    return values


def arranged(wanted: Collection[str], *, writes: bool) -> tuple[list[str], bytes]:
    """Return the tags in the order that the scripts need, and of what kind each is.

    ``1`` stays for ever, ``0`` does not. Then for each twin: its table's tag (``1``), the twin
    (``2``), the tag of any value (``3``: to be renewed if the two differ; not where it is written
    anyway), and what else only lists depend on (``4``: nobody does as long as there is no twin).
    """
    told = [(tag, *_kind(tag)) for tag in wanted]
    twins = {table: tag for tag, kind, table in told if kind == "2"}
    others: list[str] = []
    kinds: list[str] = []
    listed: dict[str, list[str]] = {}
    for tag, kind, table in told:
        if kind == "4" and table in twins:
            listed.setdefault(table, []).append(tag)
        elif kind != "2" and tag not in twins:  # a table stands before its twin
            others.append(tag)
            kinds.append("0" if kind == "4" else kind)
    for table, twin in twins.items():
        any_value, found = tags.pair_of(twin)[1], listed.get(table, [])
        others += (table, twin)
        kinds += "12"
        if not (writes and any_value in found):
            others.append(any_value)
            kinds.append("3")
            found = [tag for tag in found if tag != any_value]
        others += found
        kinds += "4" * len(found)
    return others, "".join(kinds).encode()


def _kind(tag: str) -> tuple[str, str]:
    """Return what :func:`arranged` says of a tag, and the table's that it is to stand behind."""
    if tags.is_of_lists(tag):
        return _kind_of_lists(tags.kind_of(tag), tag)
    return _KINDS[tags.is_transient(tag)]


_KINDS = ("1", ""), ("0", "")


@tags.remembered
def _kind_of_lists(kind: str, tag: str) -> tuple[str, str]:
    table = tags.table_tag(tag.partition(":")[0], tags.parsed(tag).name)
    return "2" if kind == "k" else "4", table


class OnlyWriters:
    """The twins of a cache of one process, whose writers know what the process knows.

    That changes where models are loaded late. A twin's token is another one each time then.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._changes = count(1)

    def take(self, found: Iterable[str]) -> None:
        """Whoever writes now, or reads, knows what these twins are of."""
        for twin in found:
            table = tags.pair_of(twin)[0]
            if self._known.get(table, ("", ""))[0] != twin:
                self._known[table] = (twin, f"0-{next(self._changes):x}")

    def values(self, found: Iterable[str]) -> dict[str, str]:
        """Return the tokens of those twins that are of what is known now."""
        known = ((twin, self._known.get(tags.pair_of(twin)[0], ("", ""))) for twin in found)
        return {twin: token for twin, (current, token) in known if current == twin}
