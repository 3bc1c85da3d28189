"""Visitors of a site: in this process through Django's own handlers, or over a socket.

Each has cookies of its own, and asks as a browser does.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

from asgiref.sync import async_to_sync
from django.contrib.auth import SESSION_KEY
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.test import Client

from accounts.models import CustomUser
from tests.asgi_server import serving

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Asked:
    """A request, before it is one of WSGI's or ASGI's."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes = b""
    scheme: str = "http"
    address: str = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def __getitem__(self, name: str) -> str:
        return next(value for key, value in self.headers if key.lower() == name.lower())


Way = Callable[[Asked], Answer]
"""How a request gets to the site."""


@dataclass
class Visitor:
    """Somebody with a browser."""

    way: Way
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None,
        body: bytes = b"", **rest: str,
    ) -> Answer:  # fmt: skip
        parts = urlsplit(path)
        sent = {"Host": "testserver", **(headers or {})}
        if self.cookies:
            own = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            sent.setdefault("Cookie", own)
        answer = self.way(Asked(method, parts.path, parts.query, [*sent.items()], body, **rest))
        for name, value in answer.headers:
            if name.lower() == "set-cookie":
                for cookie in SimpleCookie(value).values():
                    if cookie["max-age"] in ("0", 0):
                        self.cookies.pop(cookie.key, None)
                    else:
                        self.cookies[cookie.key] = cookie.value
        return answer

    def get(self, path: str, **headers: str) -> str:
        """Return the body of the answer."""
        return self.ask(path, headers=headers).text

    def log_in(self, name: str) -> Visitor:
        client = Client()
        client.force_login(CustomUser.objects.get(username=name))
        self.cookies.update({key: morsel.value for key, morsel in client.cookies.items()})
        return self

    def put_into_session(self, **values: Any) -> Visitor:
        client = Client()
        session = client.session
        session.update(values)
        session.save()
        self.cookies["sessionid"] = session.session_key or ""
        assert SESSION_KEY not in session
        return self


def by_wsgi(handler: WSGIHandler) -> Way:
    """Ask Django's own handler, as a WSGI server does."""

    def ask(asked: Asked) -> Answer:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": asked.method, "PATH_INFO": asked.path, "QUERY_STRING": asked.query,
            "REMOTE_ADDR": asked.address, "wsgi.url_scheme": asked.scheme,
            "wsgi.input": io.BytesIO(asked.body),
            "SERVER_PORT": "443" if asked.scheme == "https" else "80",
        }  # fmt: skip
        if asked.body:
            environ["CONTENT_LENGTH"] = str(len(asked.body))
        for name, value in asked.headers:
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        setup_testing_defaults(environ)
        started: list[Any] = []
        response = handler(environ, lambda status, headers: started.extend((status, headers)))
        try:
            body = b"".join(response)
        finally:
            response.close()
        # What a server sends: no body to HEAD.
        sent = b"" if asked.method == "HEAD" else body
        return Answer(int(started[0].split()[0]), started[1], sent)

    return ask


def by_asgi(handler: ASGIHandler) -> Way:
    """Ask Django's own handler, as an ASGI server does."""

    async def answered(asked: Asked) -> Answer:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
            "method": asked.method, "path": asked.path, "raw_path": asked.path.encode(),
            "query_string": asked.query.encode(), "scheme": asked.scheme, "root_path": "",
            "headers": [(key.lower().encode(), value.encode()) for key, value in asked.headers],
            "client": (asked.address, 1234), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        if asked.body:
            scope["headers"].append((b"content-length", str(len(asked.body)).encode()))
        messages = [{"type": "http.request", "body": asked.body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if not messages:
                await asyncio.Event().wait()  # it does not go away
            return messages.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        await handler(scope, receive, send)
        headers = [(key.decode(), value.decode()) for key, value in sent[0]["headers"]]
        body = b"".join(each.get("body", b"") for each in sent[1:])
        return Answer(sent[0]["status"], headers, b"" if asked.method == "HEAD" else body)

    return async_to_sync(answered)


def over(port: int) -> Way:
    """Ask a server on this machine."""

    def ask(asked: Asked) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            path = f"{asked.path}?{asked.query}" if asked.query else asked.path
            headers = {**dict(asked.headers), "Connection": "close"}
            connection.request(asked.method, path, asked.body or None, headers)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    return ask


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def wsgi_server() -> Iterator[Way]:
    """Serve the site by Django's threaded server."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), _Quiet)
    server.set_app(WSGIHandler())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield over(server.server_address[1])
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


@contextmanager
def asgi_server() -> Iterator[Way]:
    """Serve the site by uvicorn."""
    with serving(ASGIHandler()) as port:
        yield over(port)
