"""What the answers to a question were found to depend on: asked for at once, the next time.

A process that has not seen an answer yet asks in a second look.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from django_querybudget.cache import tags
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.sql.memory import Memo

if TYPE_CHECKING:
    from .question import Question

__all__ = ["noted", "remember_all", "short", "tags_of"]

_REMEMBERED = 4096
_LONGEST = 512  # of a shape that is kept as it is, in characters
_MOST_TAGS = 256  # of all answers of a shape; of one answer there may be more

_dependencies: OrderedDict[str, frozenset[str]] = OrderedDict()
_rows: Memo[str, frozenset[str]] = Memo()
"""The tags of the rows that a list had the last time, by its key."""


def tags_of(question: Question) -> set[str]:
    """Return the tags whose tokens are to be read with the entry."""
    found = {*question.expected, *question.user_tags, *noted(question.shape)}
    if question.is_list:
        with suppress(KeyError):
            found |= _rows[question.key]
    return found


def short(shape: str) -> str:
    """Return what a shape is known by: SQL with a long list may be megabytes."""
    return shape if len(shape) <= _LONGEST else tags.digest(shape)


def noted(shape: str) -> frozenset[str]:
    """Return the tags that answers of a shape were found to depend on, in this process."""
    return _dependencies.get(short(shape), frozenset())


def remember(shape: str, found: Collection[str]) -> None:
    """Note the tags of a shape, to ask for them at once the next time.

    Those of one view on many databases are of many tables. So past :data:`_MOST_TAGS` the last
    answer's alone are kept: what is not asked for at once is asked for in a second look.
    """
    # The shape of a decorated function's answer is its own: it has no other rows' tags.
    kept = frozenset(
        tag
        for tag in found
        if tag != PULSE and (shape.startswith("qb:") or not tags.is_transient(tag))
    )
    before = noted(shape)
    if not kept <= before:
        # Rows are those that the last answer had.
        both = kept.union(tag for tag in before if not tags.is_row(tag))
        _dependencies[short(shape)] = both if len(both) <= _MOST_TAGS else kept
        if len(_dependencies) > _REMEMBERED:
            _dependencies.popitem(last=False)


def remember_all(question: Question, depends: Collection[str]) -> None:
    """Note the tags that the answer to a question was found to depend on, to ask for at once."""
    remember(question.shape, depends)
    if question.is_list:
        _rows.remember(question.key, frozenset(filter(tags.is_row, depends)))
    if question.kind:
        remember(question.kind, depends)
