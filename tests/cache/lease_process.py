"""Processes that read one cold key at the same time: see :mod:`tests.cache.test_leases`."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.cache import actor_process  # first: it sets Django up

from django.db import connections  # isort: skip
from django.http import HttpRequest, HttpResponse  # isort: skip
from django.test import RequestFactory  # isort: skip

from django_querybudget.cache import cached_queryset, cached_view  # isort: skip
from django_querybudget.cache.reading import leases  # isort: skip
from django_querybudget.cache.views import decorator  # isort: skip
from jobs.models import Industry  # isort: skip

_log = Path()
_meeting = 0
_dies = False


def _note(what: str) -> None:
    with _log.open("a") as file:
        file.write(f"{what}\n")


def _note_run() -> None:
    """Say that the answer is made; be slow about it, until enough others wait. Or die then."""
    _note("run")
    deadline = time.monotonic() + 20
    while _log.read_text().count("wait") < _meeting and time.monotonic() < deadline:
        time.sleep(0.01)
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


def _waiting(seconds: float) -> None:
    """Wait as a reader does, and note it: how often says for how long at least."""
    _waited.times = getattr(_waited, "times", 0) + 1
    if _waited.times == 1:
        _note("wait")
    time.sleep(seconds)


class _Time:
    """The clock of the readers, whose waits are noted."""

    monotonic, perf_counter, time = time.monotonic, time.perf_counter, time.time
    sleep = staticmethod(_waiting)


_waited = threading.local()


def read(setup: dict[str, Any], pipe: Any) -> None:
    """Say that one is ready, wait, read in threads; say what each read, how often it waited."""
    global _log, _meeting, _dies
    actor_process.configure(setup, with_stops=False)
    _log, _meeting, _dies = Path(setup["log"]), setup["meeting"], setup["dies"]
    leases.time = decorator.time = _Time  # type: ignore[assignment]
    leases.WAIT = setup["wait"]
    if not setup["dies"]:
        leases.LEASE = leases.LONGEST = setup["wait"]  # or two make it where a machine stands still
    ask = {"view": by_view, "queryset": by_queryset}[setup["form"]]
    go = threading.Barrier(setup["threads"])

    def one() -> tuple[str, int]:
        try:
            connections["default"].ensure_connection()
            if setup["form"] == "queryset":
                connections["default"].execute_wrappers.append(_slowly)
            go.wait()
            return ask(), getattr(_waited, "times", 0)
        finally:
            connections.close_all()

    pipe.send("ready")
    pipe.recv()
    with ThreadPoolExecutor(setup["threads"]) as pool:
        pipe.send([each.result() for each in [pool.submit(one) for _ in range(setup["threads"])]])
