"""Processes that read one cold key at the same time: see :mod:`tests.cache.test_leases`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tests.cache import actor_process  # first: it sets Django up

from django.db import connections  # isort: skip
from django.http import HttpRequest, HttpResponse  # isort: skip
from django.test import RequestFactory  # isort: skip

from django_querybudget.cache import cached_queryset, cached_view  # isort: skip
from jobs.models import Industry  # isort: skip

_log = Path()
_slow = 0.0
_dies = False


def _note_run() -> None:
    """Say that the answer is made; be slow about it, or die."""
    with _log.open("a") as file:
        file.write("run\n")
    time.sleep(_slow)
    if _dies:
        os._exit(1)


@cached_view(60, vary_on=())
def view(request: HttpRequest) -> HttpResponse:
    _note_run()
    return HttpResponse(f"{Industry.objects.count()}")


def _slowly(execute: Any, sql: str, *arguments: Any) -> Any:
    if sql.startswith("SELECT") and "jobs_industry" in sql:
        _note_run()
    return execute(sql, *arguments)


def by_view() -> str:
    return str(view(RequestFactory().get("/")).content.decode())


def by_queryset() -> str:
    found = cached_queryset(Industry.objects.order_by("pk"), 60)
    return f"{len(found)}"


def read(setup: dict[str, Any], pipe: Any) -> None:
    """Say that one is ready, wait, read, say what was read and how long it took."""
    global _log, _slow, _dies
    actor_process.configure(setup, with_stops=False)
    _log, _slow, _dies = Path(setup["log"]), setup["slow"], setup["dies"]
    ask = {"view": by_view, "queryset": by_queryset}[setup["form"]]
    connections["default"].ensure_connection()
    if setup["form"] == "queryset":
        connections["default"].execute_wrappers.append(_slowly)
    pipe.send("ready")
    pipe.recv()
    began = time.monotonic()
    answer = ask()
    pipe.send((answer, time.monotonic() - began))
