"""Clients of a site under load, who count what the answers' headers tell."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from tests.production.load.urls import WORKER

CLIENTS = 4
VERSIONS = ("naive", "optimised", "cached")
ENDPOINTS = (
    "alljobs", "saved-jobs", "applications", "payments", "reviews", "user-profile", "job-details",
)  # fmt: skip
METHODS = ("GET", "GET", "GET", "GET", "HEAD", "POST", "BREW")
NAMED = {"BREW": "other"}
"""What the record calls a method that is none of the standard's."""

Counts = dict[tuple[str, str], tuple[int, int]]
"""Requests and queries, by view and method."""


class Answer(NamedTuple):
    """One request that was answered."""

    began: float
    ended: float
    view: str
    method: str
    status: int
    queries: int
    worker: int


class Broken(NamedTuple):
    """One that was not."""

    began: float
    ended: float
    view: str
    method: str
    error: str


class Connection(HTTPConnection):
    """To a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(site: Path, method: str, path: str, cookie: str = "") -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of one request on a connection of its own."""
    connection = Connection(site)
    try:
        headers = {"Cookie": f"sessionid={cookie}", "Connection": "close"}
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


class Crowd:
    """Clients in threads, from ``start`` to ``stop``."""

    def __init__(self, site: Path, cookies: list[str], seed: int) -> None:
        self.answers: list[Answer] = []
        self.broken: list[Broken] = []
        self._site, self._cookies = site, cookies
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(seed + each),))  # noqa: S311 - the same each time
            for each in range(CLIENTS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each client's last request be answered."""
        self._over.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def _work(self, chance: random.Random) -> None:
        while not self._over.is_set():
            version, endpoint = chance.choice(VERSIONS), chance.choice(ENDPOINTS)
            view, method = f"{version}:{endpoint}", chance.choice(METHODS)
            prefix = "" if version == "optimised" else f"{version}/"
            path = f"/{prefix}{endpoint}?id={chance.randint(1, 20)}&page={chance.randint(1, 2)}"
            if chance.random() < 0.05:
                view, path = "no view", f"/nowhere/{chance.random()}"
            of = view, NAMED.get(method, method)
            began = time.monotonic()
            try:
                status, headers, _ = ask(self._site, method, path, chance.choice(self._cookies))
                count, worker = int(headers["X-Query-Count"]), int(headers[WORKER])
            except (OSError, HTTPException) as error:
                self.broken.append(Broken(began, time.monotonic(), *of, repr(error)))
            else:
                ended = time.monotonic()
                self.answers.append(Answer(began, ended, *of, status, count, worker))


def counted(answers: list[Answer]) -> Counts:
    """Return what was asked and queried, by view and method."""
    requests: Counter[tuple[str, str]] = Counter()
    queries: Counter[tuple[str, str]] = Counter()
    for each in answers:
        requests[each.view, each.method] += 1
        queries[each.view, each.method] += each.queries
    return {of: (number, queries[of]) for of, number in requests.items()}
