"""Several cached querysets at once: what is asked of the cache for a page goes out in one trip.

Each is answered as it would be alone, by the same test of its own entry. What is read once is the
tokens, which they have in common.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, TypeVarTuple, cast

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from django_querybudget.cache import tags
from django_querybudget.cache.payload.entries import decoded
from django_querybudget.cache.sessions import Unknown, everywhere
from django_querybudget.cache.stores.access import ReadMany
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.unbuilt import source_of
from django_querybudget.conf import conf

from .audit import Again
from .keeping import absent_of
from .leases import make, read_through
from .querysets import CachedQuerySetMixin, computed_rows, rows_again, take_rows
from .question import Question, refusal_of
from .questions import CannotCache, rows_question
from .remembered import remember_all, tags_of
from .sampling import due
from .through import MISS, Looked, answer_in, bypass, seen, to_be_audited

__all__ = ["afetch_together", "fetch_together"]

Querysets = TypeVarTuple("Querysets")


@dataclass(slots=True)
class _ToFetch:
    """A queryset that is to be fetched, and how."""

    queryset: Any
    question: Question
    compute: Callable[[], Any]
    again: Callable[[], Again]
    looked: Looked | None = None
    cost: float = 0.0
    """Its share of what it took to ask for all, in seconds."""

    def answer(self) -> Any:
        """Return the rows. Raises what the database does."""
        looked, question = self.looked, self.question
        if looked is None:
            return read_through(question, self.compute, self.again)
        if looked.refused:
            return bypass(looked.refused, self.compute, question.site)
        if looked.found is not MISS:
            if due():
                to_be_audited(question, looked, self.again())
            return looked.found
        question.asked_at = perf_counter() - self.cost  # others were answered meanwhile
        return make(question, looked, self.compute)


def fetch_together(*querysets: *Querysets) -> tuple[*Querysets]:
    """Fetch the rows of several cached querysets, with one trip to the cache; return them.

    For querysets of :func:`cached_queryset` and of functions decorated with it: each has its rows
    afterwards, as if it had been iterated. What the cache does not have comes from the database,
    one after the other. A queryset that is not cached is fetched as ever, one that has been
    fetched is left as it is.

    Raises :class:`TypeError` for what is no queryset, and what the database raises.
    """
    asked: dict[str, _ToFetch] = {}
    others: list[Any] = []
    known = _sessions()
    for place, queryset in enumerate(cast("tuple[Any, ...]", querysets)):
        if not isinstance(queryset, QuerySet):
            raise TypeError(
                f"fetch_together() takes querysets, not {type(queryset).__name__} "
                f"(argument {place + 1}): write fetch_together(a, b), not fetch_together([a, b])."
            )
        found = _asked(queryset, known) if queryset._result_cache is None else None
        if found is None or found.question.key in asked:
            others.append(queryset)
        else:
            asked[found.question.key] = found
    if len(asked) > 1:
        _look_up(list(asked.values()))
    for each in asked.values():
        try:
            rows = each.answer()
        finally:
            if source_of(each.queryset) is None:
                each.queryset._querybudget_received = None
        take_rows(each.queryset, rows)
    for queryset in others:
        queryset._fetch_all()
    return querysets


async def afetch_together(*querysets: *Querysets) -> tuple[*Querysets]:
    """As :func:`fetch_together`, in async code."""
    await sync_to_async(fetch_together)(*querysets)
    return querysets


def _sessions() -> dict[str, str] | None:
    """Return the sessions of this thread's connections, once for all; None if one is not known."""
    try:
        return everywhere()
    except Unknown:
        return None


def _asked(queryset: Any, known: dict[str, str] | None) -> _ToFetch | None:
    """Return what a queryset asks the cache, None if it asks nothing, or has to do so itself."""
    if (source := source_of(queryset)) is not None:
        found = source.asked("rows", sessions=known)
        if found is None:
            return None
        question, read = found
        return _ToFetch(queryset, question, read.compute, read.again)
    if not isinstance(queryset, CachedQuerySetMixin) or queryset._querybudget_options is None:
        return None
    if queryset._querybudget_fetched is not None:
        return None
    try:
        question = rows_question(queryset)
    except CannotCache:
        return None  # which it meets again, and notes
    return _ToFetch(
        queryset, question, partial(computed_rows, queryset), partial(rows_again, queryset)
    )


def _look_up(asked: Sequence[_ToFetch]) -> None:
    """Ask the cache for all of them, and count what it has; see that all tags have tokens."""
    may: list[_ToFetch] = []
    for each in asked:
        if reason := refusal_of(each.question):
            each.looked = Looked(MISS, {}, (), reason)
        else:
            may.append(each)
    looked_at = time.time()
    wanted = {id(each): tags_of(each.question) for each in may}
    answer = _read(may, set().union(*wanted.values())) if may else None
    if answer is None:
        for each in may:
            each.looked = Looked(MISS, {}, (), "cache failed")
        return
    values = answer.values
    trusted: dict[str, str] = {}
    for each, stored in zip(may, answer.entries, strict=True):
        found, entry = answer_in(each.question, stored, values, trusted)
        each.looked = Looked(found, values, wanted[id(each)], "", entry)
    cost = (perf_counter() - asked[0].question.asked_at) / len(asked)
    for each in may:
        each.cost = cost
        if each.looked is not None:
            seen(each.question, each.looked, cost, looked_at=looked_at)
    missed = [each.looked for each in may if each.looked and each.looked.found is MISS]
    absent = {tag for looked in missed for tag in absent_of(looked)}
    if absent and PULSE in values:
        values |= store_for(conf.CACHE.ALIAS).ensure(absent)


def _read(asked: Sequence[_ToFetch], wanted: set[str]) -> ReadMany | None:
    """Return what stands under the keys of all, and the tokens; None if they cannot be had.

    Tokens are read with the entries, or later: that can only make an entry a miss.
    """
    own = conf.CACHE.ALIAS
    entries: dict[str, Any] = {}
    for alias in {each.question.cache for each in asked} - {own}:
        keys = [each.question.key for each in asked if each.question.cache == alias]
        apart = store_for(alias).read_many(keys, ())
        if apart is None:
            return None
        entries.update(zip(keys, apart.entries, strict=True))
    keys = [each.question.key for each in asked if each.question.cache == own]
    store = store_for(own)
    read = store.read_many(keys, wanted)
    if read is None:
        return None
    entries.update(zip(keys, read.entries, strict=True))
    stored, values = [entries[each.question.key] for each in asked], read.values
    if missing := _unread(asked, stored, values):
        # Tags of relations that this process has not seen yet: one more look, once.
        # What a twin says holds with a tag of any value that was not read before it.
        again = {tags.pair_of(tag)[1] for tag in missing if tags.is_twin(tag)}
        more = store.read(None, missing | again)
        if more is not None:
            # The pulse that was read first counts: what was read under it, and not before it came.
            values = {**more.values, **values, **{tag: more.values.get(tag, "") for tag in again}}
    return ReadMany(stored, values)


def _unread(asked: Iterable[_ToFetch], entries: Iterable[Any], values: dict[str, str]) -> set[str]:
    """Return the tags that the entries depend on, and whose tokens were not asked for."""
    missing: set[str] = set()
    if PULSE not in values:
        return missing  # nothing is trusted
    for each, stored in zip(asked, entries, strict=True):
        try:
            tokens = decoded(each.question.key, stored).tokens if stored is not None else {}
        except Exception:  # noqa: S112  # no entry: answer_in() tells
            continue
        if not tokens.keys() <= values.keys():
            remember_all(each.question, tokens)
            missing.update(tokens.keys() - values.keys())
    return missing
