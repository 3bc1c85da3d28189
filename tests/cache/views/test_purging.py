"""The receiver that the how-to gives, against a server that plays the CDN."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_querybudget.cache import cached_view
from django_querybudget.signals import dependencies_renewed
from jobs.models import Industry

FILE = Path(__file__).parents[3] / "docs" / "how-to" / "purging.py"
LONG = 30.0  # no test waits for so long

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


class CDN:
    """A server that keeps what it was asked for; it answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.changed = threading.Condition()
        self.lets_go = threading.Event()
        self.lets_go.set()
        self.status = 200
        cdn = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Fastly-Key"] == "secret"
                path, keys = self.path, self.headers.get("Surrogate-Key", "").split()
                with cdn.changed:
                    status = cdn.status
                    cdn.asked.append((path if status == 200 else f"refused {path}", keys))
                    cdn.changed.notify_all()
                cdn.lets_go.wait(LONG)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/service/x"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def wait_for(self, done: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(done, LONG), self.asked

    def purged(self) -> list[list[str]]:
        return [keys for path, keys in self.asked if path == "/service/x/purge"]

    def stop(self) -> None:
        self.lets_go.set()
        self.server.shutdown()
        self.thread.join(LONG)
        self.server.server_close()


@pytest.fixture
def cdn(settings: Any) -> Iterator[CDN]:
    found = CDN()
    settings.QUERYBUDGET = {"CACHE": {"SURROGATE_KEYS": "Surrogate-Key"}}
    settings.PURGE_URL, settings.PURGE_TOKEN = found.url, "secret"
    caches["default"].clear()
    Industry.objects.create(name="one")
    yield found
    found.stop()


@pytest.fixture
def purging(cdn: CDN, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The page's file, imported as the project's own."""
    del cdn
    spec = importlib.util.spec_from_file_location("purging", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAUSE", 0.01)
    yield module
    dependencies_renewed.disconnect(module.purge)
    module.atexit.unregister(module.purger.end)
    module.purger.ends = True
    module.purger.add(frozenset())
    module.purger.thread.join(LONG)
    assert not module.purger.thread.is_alive()


@cached_view(60, vary_on=())
def industries(request: HttpRequest) -> HttpResponse:
    return HttpResponse(",".join(each.name for each in Industry.objects.all()))


def keys_of_the_page() -> set[str]:
    return set(industries(RequestFactory().get("/"))["Surrogate-Key"].split())


def test_a_commit_purges_the_pages_that_it_changed(cdn: CDN, purging: ModuleType) -> None:
    of_page = keys_of_the_page()
    with transaction.atomic():
        Industry.objects.create(name="two")
        Industry.objects.create(name="three")
        assert cdn.asked == []
    cdn.wait_for(lambda: bool(cdn.asked))
    assert len(cdn.purged()) == 1
    assert of_page & set(cdn.purged()[0])
    assert purging.purger.thread.daemon


def test_it_purges_a_second_time(
    cdn: CDN, purging: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "AGAIN", 0.05)
    Industry.objects.create(name="two")
    cdn.wait_for(lambda: len(cdn.asked) == 2)
    assert cdn.purged()[0] == cdn.purged()[1]


def test_many_keys_go_in_several_requests_and_many_commits_in_one(
    cdn: CDN, purging: ModuleType
) -> None:
    cdn.lets_go.clear()
    purging.purge(frozenset(["first"]))
    cdn.wait_for(lambda: len(cdn.asked) == 1)
    names = [f"{number:016x}" for number in range(600)]
    for at in range(0, 600, 3):  # 200 commits while the first one's purge is on its way
        purging.purge(frozenset(names[at : at + 3]))
    cdn.lets_go.set()
    cdn.wait_for(lambda: len(cdn.asked) == 4)
    first, *rest = cdn.purged()
    assert first == ["first"]
    assert [len(each) for each in rest] == [256, 256, 88]
    assert sorted(key for each in rest for key in each) == names


def test_a_cdn_that_does_not_answer_holds_up_no_write(cdn: CDN, purging: ModuleType) -> None:
    cdn.lets_go.clear()
    for number in range(3):
        Industry.objects.create(name=f"industry {number}")  # while nobody answers
    assert Industry.objects.count() == 4
    assert all(each in industries(RequestFactory().get("/")).content for each in (b"0", b"1", b"2"))
    cdn.lets_go.set()
    cdn.wait_for(lambda: bool(cdn.purged()))


def test_a_cdn_that_is_away_is_asked_again(
    cdn: CDN, purging: ModuleType, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings.PURGE_URL = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        Industry.objects.create(name="two")
        until = time.monotonic() + LONG
        while not caplog.records and time.monotonic() < until:
            time.sleep(0.01)
    settings.PURGE_URL = cdn.url
    cdn.wait_for(lambda: bool(cdn.purged()))
    assert "could not be asked for purge" in caplog.text


def test_more_commits_than_may_wait_purge_everything(cdn: CDN, purging: ModuleType) -> None:
    purging.purger.commits.maxsize = 2
    cdn.status = 503
    purging.purge(frozenset(["first"]))
    cdn.wait_for(lambda: bool(cdn.asked))
    for number in range(5):
        purging.purge(frozenset([f"{number}"]))
    assert purging.purger.commits.qsize() == 2
    with cdn.changed:
        cdn.status = 200
    cdn.wait_for(lambda: ("/service/x/purge_all", []) in cdn.asked)
    assert not purging.purger.is_full


def test_a_process_that_ends_purges_what_waits(cdn: CDN, purging: ModuleType) -> None:
    Industry.objects.create(name="two")
    purging.purger.end()
    assert len(cdn.purged()) >= 1
    assert {key for keys in cdn.purged() for key in keys}
    assert not purging.purger.thread.is_alive()


def test_one_that_ends_while_the_cdn_is_away_waits_no_longer_than_said(
    cdn: CDN, purging: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "LAST", 0.05)
    cdn.status = 503
    purging.purger.commits.maxsize = 1
    for number in range(5):
        purging.purge(frozenset([f"{number}"]))
    cdn.wait_for(lambda: bool(cdn.asked))
    purging.purger.end()  # it returns
    assert purging.purger.thread.is_alive()
    with cdn.changed:
        cdn.status = 200
