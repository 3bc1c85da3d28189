"""Cached views that answer the reads of the proofs, in each way in which a view reads.

``ask(form, cache, name, alias)`` asks the view of a form for the read ``name`` of ``alias``; it
keeps its answers in ``cache``. It must be what ``true_text(name, alias)`` says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import RequestFactory

from django_querybudget.cache import cached_queryset, cached_view
from jobs.models import Job
from tests.cache import reads as marketplace
from tests.cache.hosts import reads as hosts
from tests.cache.reads import Cached, Read, answer, plain

__all__ = ["FORMS", "READS", "TAG", "ask", "true_text"]

TAG = "watched"
"""Every view has it."""


def _rows(using: str, sql: str, params: Any = None) -> list[Any]:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)
        return plain(cursor.fetchall())  # type: ignore[no-any-return]


RAW: dict[str, Read] = {
    "raw_row_by_key": lambda c, using: _rows(
        using, "SELECT title, budget FROM jobs_job WHERE id = %s", [1]
    ),
    "raw_row_that_is_missing": lambda c, using: _rows(
        using, "SELECT title FROM jobs_job WHERE id = %s", [50]
    ),
    "raw_scope": lambda c, using: _rows(
        using, "SELECT id, amount FROM payment_payment WHERE payer_id = %s ORDER BY id", [1]
    ),
    "raw_join": lambda c, using: _rows(
        using,
        "SELECT j.title, i.name FROM jobs_job j JOIN jobs_industry i ON i.id = j.industry_id "
        "WHERE j.id = %s",
        [1],
    ),
    "raw_aggregate": lambda c, using: _rows(using, "SELECT COUNT(*), SUM(budget) FROM jobs_job"),
    "raw_cte": lambda c, using: _rows(
        using,
        "WITH mine AS (SELECT * FROM payment_payment WHERE payer_id = 1) "
        "SELECT COUNT(*), SUM(amount) FROM mine",
    ),
    "raw_queryset": lambda c, using: [
        (each.pk, each.title)
        for each in Job.objects.using(using).raw("SELECT * FROM jobs_job WHERE id < 3 ORDER BY id")
    ],
}
"""Reads by SQL of the view's own: no queryset tells what they depend on."""

READS: dict[str, Read] = {**marketplace.READS, **hosts.READS, **RAW}


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def true_text(name: str, alias: str) -> str:
    """Return the answer of the database."""
    return _text(answer(READS[name], _plain, alias))


def _plain(queryset: Any) -> Any:
    return queryset


def _in_view(cache: str) -> Callable[..., Any]:
    @cached_view(600, vary_on=(), cache=cache, tags=[TAG])
    def in_view(request: HttpRequest, name: str, alias: str) -> HttpResponse:
        return HttpResponse(true_text(name, alias))

    return in_view


def _nested(cache: str) -> Callable[..., Any]:
    def cached(queryset: Any) -> Any:
        return cached_queryset(queryset, 600, cache=cache, tags=[TAG])

    through: Cached = cached

    @cached_view(600, vary_on=(), cache=cache, tags=[TAG])
    def nested(request: HttpRequest, name: str, alias: str) -> HttpResponse:
        return HttpResponse(_text(answer(READS[name], through, alias)))

    return nested


def _late(cache: str) -> Callable[..., Any]:
    @cached_view(600, vary_on=(), cache=cache, tags=[TAG])
    def late(request: HttpRequest, name: str, alias: str) -> TemplateResponse:
        template = engines["django"].from_string(
            "{% autoescape off %}{{ answer }}{% endautoescape %}"
        )
        return TemplateResponse(request, template, {"answer": lambda: true_text(name, alias)})

    return late


def _in_async(cache: str) -> Callable[..., Any]:
    @cached_view(600, vary_on=(), cache=cache, tags=[TAG])
    async def in_async(request: HttpRequest, name: str, alias: str) -> HttpResponse:
        return HttpResponse(await sync_to_async(true_text)(name, alias))

    return async_to_sync(in_async)


FORMS: dict[str, Callable[[str], Callable[..., Any]]] = {
    "in view": _in_view,
    "nested": _nested,
    "late": _late,
    "in async": _in_async,
}
"""By form, what makes its view: the read is in the view, through ``cached_queryset`` in the view,
in a template rendered later, in the thread of an async view."""

_views: dict[tuple[str, str], Callable[..., Any]] = {}


def ask(form: str, cache: str, name: str, alias: str) -> str:
    """Return what the view of a form answers."""
    view = _views.get((form, cache))
    if view is None:
        view = _views[form, cache] = FORMS[form](cache)
    response = view(RequestFactory().get(f"/{form}/{alias}/{name}/"), name, alias)
    if not getattr(response, "is_rendered", True):
        response = response.render()
    return str(response.content.decode())
