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

from django_querybudget.cache import tags

__all__ = ["SAME", "OnlyWriters", "arranged", "settled", "twins_in", "with_tables"]

SAME = "0-0"
"""What a twin is read as, if it equals its table's tag."""


def twins_in(wanted: Iterable[str]) -> list[str]:
    """Return the twins among tags."""
    return [tag for tag in wanted if ":k:" in tag and tags.is_twin(tag)]


def _pair(twin: str) -> tuple[str, str]:
    """Return the table's tag and the tag of any value."""
    database, name = twin.split(":", 1)[0], tags.parsed(twin).name
    return tags.table_tag(database, name), tags.any_value_tag(database, name)


def with_tables(wanted: Collection[str], twins: Collection[str]) -> list[str]:
    """Return the tags to read: ``wanted``, and the tables' whose twins are among them."""
    asked = dict.fromkeys(wanted)
    asked.update(dict.fromkeys(_pair(twin)[0] for twin in twins))
    return list(asked)


def settled(values: dict[str, str], twins: Collection[str]) -> dict[str, str]:
    """Let each twin be :data:`SAME` in the values that were read, or be missing."""
    for twin in twins:
        value = values.pop(twin, "")
        if value and value == values.get(_pair(twin)[0]):
            values[twin] = SAME
    return values


def arranged(wanted: Collection[str], *, writes: bool) -> tuple[list[str], bytes]:
    """Return the tags in the order that the scripts need, and of what kind each is.

    ``1`` stays for ever, ``0`` does not. Then for each twin: its table's tag (``1``), the twin
    (``2``), the tag of any value (``3``: to be renewed if the two differ; not where it is written
    anyway), and what else only lists depend on (``4``: nobody does as long as there is no twin).
    """
    twins = twins_in(wanted)
    if not twins:
        return list(wanted), b"".join([b"0" if tags.is_transient(tag) else b"1" for tag in wanted])
    groups: dict[str, list[str]] = {}
    for twin in twins:
        groups[tags.table_tag(twin.split(":", 1)[0], tags.parsed(twin).name)] = [twin]
    others: list[str] = []
    for tag in wanted:
        if tags.is_of_lists(tag):
            group = groups.get(tags.table_tag(tag.split(":", 1)[0], tags.parsed(tag).name))
            (others if group is None else group).append(tag)
        elif tag not in groups and not tags.is_twin(tag):
            others.append(tag)
    kinds = [b"0" if tags.is_transient(tag) else b"1" for tag in others]
    for table, (twin, *found) in groups.items():
        any_value = _pair(twin)[1]
        others += [table, twin]
        kinds += [b"1", b"2"]
        if not (writes and any_value in found):
            others.append(any_value)
            kinds.append(b"3")
        listed = [tag for tag in found if writes or tag != any_value]
        others += listed
        kinds += [b"4"] * len(listed)
    return others, b"".join(kinds)


class OnlyWriters:
    """The twins of a cache of one process, whose writers know what the process knows.

    That changes where models are loaded late. A twin's token is another one each time then.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._changes = 0

    def take(self, found: Iterable[str]) -> None:
        """Whoever writes now, or reads, knows what these twins are of."""
        for twin in found:
            table = _pair(twin)[0]
            if self._known.get(table, ("", ""))[0] != twin:
                self._changes += 1
                self._known[table] = (twin, f"0-{self._changes:x}")

    def values(self, found: Iterable[str]) -> dict[str, str]:
        """Return the tokens of those twins that are of what is known now."""
        known = ((twin, self._known.get(_pair(twin)[0], ("", ""))) for twin in found)
        return {twin: token for twin, (current, token) in known if current == twin}
