"""What a rehearsal's processes write down: :func:`start`. One file of lines for each process.

Written is what each request executed and which patches its findings make, each answer that a test
client received, and each test's outcome. Bodies are kept once, by their digest, within a bound.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import client as django_client

from django_querybudget.conf import conf
from django_querybudget.nplusone.eager import watch_process
from django_querybudget.ratchet.collecting import MIDDLEWARE, current_test
from django_querybudget.reports.report import QueryReport
from django_querybudget.routing.views import view_name_of
from django_querybudget.signals import queries_measured

from .seeding import seed, seed_test_cases
from .watching import Watch
from .writing import patches_of

__all__ = [
    "FOLDER_VARIABLE",
    "note_outcome",
    "note_test",
    "only",
    "start",
]

FOLDER_VARIABLE = "QUERYBUDGET_REHEARSAL"
"""In the environment of a rehearsal: the folder that its processes write to."""
_COPY_VARIABLE = "QUERYBUDGET_REHEARSAL_COPY"
_ROOT_VARIABLE = "QUERYBUDGET_REHEARSAL_ROOT"

_MEASURED = {"SAMPLE_RATE": 1.0, "ORIGINS": True, "NPLUSONE": "log"}
_MOST_BODIES = 200_000_000
"""Bytes that a process keeps of bodies; of those beyond it the digest is kept."""
_UNCOMPARED = ("cache-status", "content-length", "date", "server-timing")
"""Headers that differ from run to run: the first has how long an answer may still be kept."""
_kept_bytes = 0
_written: set[tuple[int, str]] = set()
_started: set[str] = set()
_eager: Watch | None = None
_running: str | None = None
"""The test that a runner of one process is at; see :func:`note_test`."""


def start() -> None:
    """Write down what this process does from now on, and those it starts."""
    if _started:
        return
    _started.add(os.environ[FOLDER_VARIABLE])
    conf.overrides.update(_MEASURED)
    if MIDDLEWARE not in settings.MIDDLEWARE:
        settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
    queries_measured.connect(_on_measured, dispatch_uid=__name__)
    # In a rehearsal alone: the only place that has every answer a test is given, as it is given.
    seed_test_cases()
    seed(__name__)
    handler: Any = django_client.ClientHandler
    handler.__call__ = _noting(handler.__call__)
    async_handler: Any = django_client.AsyncClientHandler
    async_handler.__call__ = _noting_async(async_handler.__call__)
    _watch()
    atexit.register(_note_end)


def _watch() -> None:
    global _eager
    _eager = Watch(Path(os.environ[_COPY_VARIABLE]), _write)
    try:
        watch_process(_eager)
    except RuntimeError as error:
        _write({"kind": "note", "text": f"Unread eager loads were not looked for: {error}"})


def only() -> frozenset[str] | None:
    """Return the names of the tests that are to be run; None for all."""
    try:
        return frozenset(json.loads(Path(os.environ[FOLDER_VARIABLE], "only").read_text("utf-8")))
    except OSError:
        return None


def note_test(test: str | None) -> None:
    """Say which test begins: a thread and a coroutine have none on their stack."""
    global _running
    _running = test
    if test is not None:
        seed(test)


def _test() -> str | None:
    return current_test() or _running


def note_outcome(test: str, outcome: str, text: str = "") -> None:
    """Write down how a test ended: ``"passed"``, ``"failed"`` or ``"skipped"``."""
    _write({"kind": "outcome", "test": test, "outcome": outcome, "text": text[-2000:]})


def _write(record: dict[str, Any]) -> None:
    path = Path(os.environ[FOLDER_VARIABLE], f"{os.getpid()}.jsonl")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _on_measured(report: QueryReport, **_: object) -> None:
    if report.view_name is None:
        return
    written = patches_of(report.findings, Path(os.environ[_COPY_VARIABLE]))
    for key, (patch, _saves) in written.patches.items():
        if (os.getpid(), key) not in _written:
            _written.add((os.getpid(), key))
            _write({"kind": "patch", **patch.as_data()})
    left = [[list(astuple(each.found)), each.reason, each.code] for each in written.left]
    _write(
        {
            "kind": "scope",
            "test": _test(),
            "view": report.name,
            "count": report.log.count,
            "loads": {} if _eager is None else _eager.end(),
            "saves": {key: saves for key, (_, saves) in written.patches.items()},
            "left": left,
        }
    )


def _begin() -> None:
    if _eager is not None:
        _eager.begin()


def _noting(call: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(self: Any, environ: Any) -> Any:  # noqa: N807 - it takes that method's place
        _begin()
        response = call(self, environ)
        test, request = _test(), f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        if response.streaming and not response.is_async:
            response.streaming_content = _tee(response.streaming_content, test, request, response)
        else:
            _note_answer(test, request, response, b"" if response.streaming else response.content)
        return response

    return __call__


def _noting_async(call: Callable[..., Any]) -> Callable[..., Any]:
    async def __call__(self: Any, scope: Any) -> Any:  # noqa: N807 - it takes that method's place
        _begin()
        response = await call(self, scope)
        test, request = _test(), f"{scope['method']} {scope['path']}"
        if response.streaming and response.is_async:
            response.streaming_content = _async_tee(
                response.streaming_content, test, request, response
            )
        elif response.streaming:
            response.streaming_content = _tee(response.streaming_content, test, request, response)
        else:
            _note_answer(test, request, response, response.content)
        return response

    return __call__


def _tee(content: Any, test: str | None, request: str, response: Any) -> Iterator[bytes]:
    parts = []
    for part in content:
        parts.append(part)
        yield part
    _note_answer(test, request, response, b"".join(parts))


async def _async_tee(
    content: Any, test: str | None, request: str, response: Any
) -> AsyncIterator[bytes]:
    parts = []
    async for part in content:
        parts.append(part)
        yield part
    _note_answer(test, request, response, b"".join(parts))


def _note_answer(test: str | None, request: str, response: Any, body: bytes) -> None:
    lines = [
        f"{name}: {value}"
        for name, value in response.headers.items()
        if name.lower() not in _UNCOMPARED and not name.lower().startswith("x-query-")
    ]
    cookies = response.cookies.output(sep="\n")
    head = "\n".join([str(response.status_code), *sorted(lines), cookies, "", ""])
    data = head.encode() + body
    digest = hashlib.sha256(data).hexdigest()
    _keep(digest, data)
    asked = getattr(response, "wsgi_request", None) or response.asgi_request
    view = "" if (name := view_name_of(asked)) is None else f"{asked.method} {name}"
    _write({"kind": "answer", "test": test, "request": request, "digest": digest, "view": view})


def _keep(digest: str, data: bytes) -> None:
    global _kept_bytes
    path = Path(os.environ[FOLDER_VARIABLE]).parent / "bodies" / digest
    if path.exists() or _kept_bytes + len(data) > _MOST_BODIES:
        return
    _kept_bytes += len(data)
    # A name of its own until it is whole: another process may write the same one.
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(zlib.compress(data, 1))
    part.replace(path)


def _note_end() -> None:
    """Write down which modules came from the project itself, not from the copy."""
    root = os.path.realpath(os.environ[_ROOT_VARIABLE]) + os.sep
    environment = os.path.realpath(sys.prefix) + os.sep
    files = [getattr(module, "__file__", None) for module in tuple(sys.modules.values())]
    foreign = sorted(
        each
        for each in {os.path.realpath(file) for file in files if isinstance(file, str)}
        if each.startswith(root)
        and not (each.startswith(environment) and environment.startswith(root))
        and not each.startswith(os.path.realpath(os.environ[_COPY_VARIABLE]) + os.sep)
        and "site-packages" not in each
    )
    _write({"kind": "end", "foreign": foreign[:20]})
