"""The second half of a cached read: compute the answer in a fill, and store it under its tokens."""

from __future__ import annotations

import time
from time import perf_counter
from typing import Any

from django.db import router

from django_querybudget.cache import stats
from django_querybudget.cache.payload.entries import pack
from django_querybudget.cache.payload.values import Unfreezable
from django_querybudget.cache.sites import Site
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.tokens import is_known
from django_querybudget.conf import conf

from . import audit
from .fills import Fill
from .question import Question, site_of_question
from .remembered import remember_all
from .routes import Routes
from .through import Looked

__all__ = ["absent_of", "begun", "keep"]


def begun(question: Question, looked: Looked) -> Fill:
    """Return the fill in which the answer is to be computed, with the tokens it begins with."""
    fill = Fill(looked.values, question.pins, question.sessions)
    if PULSE in looked.values and (absent := absent_of(looked)):
        fill.tokens.update(store_for(conf.CACHE.ALIAS).ensure(absent))
    fill.needed |= question.user_tags | question.required
    if router.routers:
        fill.routes = Routes(looked.wanted)
    return fill


def absent_of(looked: Looked) -> list[str]:
    """Return the tags that have no token yet."""
    return [tag for tag in looked.wanted if not is_known(looked.values.get(tag, ""))]


def keep(question: Question, fill: Fill, answer: Any, lease: tuple[str, str] | None = None) -> bool:
    """Store an answer that was computed in ``fill``, if that is right. Returns whether it is.

    ``lease`` is given back behind it: its key, and who has it.
    """
    if (replay := audit.replaying()) is not None:
        return replay.take(question.key, question.codec, fill, answer)
    site = site_of_question(question)
    routes, tokens = fill.chosen(), fill.settled()
    if tokens is None:
        if fill.routes is not None:
            remember_all(question, fill.dependencies())  # whose database to ask for the next time
        return _not_kept(site, fill.reason or "")
    cost, timeout = fill.cost, question.timeout
    try:
        packed = pack(
            tokens, fill.aliases, question.codec.freeze(answer), cost=cost, since=fill.true_since(),
            until=None if timeout is None else time.time() + timeout, routes=routes,
        )  # fmt: skip
    except Unfreezable as error:
        return _not_kept(site, f"value {error}")
    except (ValueError, RecursionError) as error:
        return _not_kept(site, f"value {type(error).__name__}")
    remember_all(question, (*tokens, *fill.if_found, *fill.if_empty, *fill.asked))
    if not store_for(question.cache).write(question.key, packed, timeout, lease):
        site.refused("the cache did not take it")
        return False
    site.filled(cost, perf_counter() - question.asked_at - cost)
    return True


def _not_kept(site: Site, reason: str) -> bool:
    stats.count_not_stored(reason)
    site.refused(reason)
    return False
