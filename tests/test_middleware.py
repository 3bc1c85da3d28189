"""QueryBudgetMiddleware under WSGI and under Django's ASGI test client."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.signals import got_request_exception
from django.db import connection, connections
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, Client, RequestFactory, override_settings

from django_querybudget.capture import Recording, copy_context
from django_querybudget.middleware import QueryBudgetMiddleware
from django_querybudget.reports import QueryReport
from django_querybudget.signals import queries_measured
from jobs.models import Industry
from tests import urls
from tests.urls import response_text

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.urls")]

ROOT = Path(__file__).parent.parent
OURS = "django_querybudget.middleware.QueryBudgetMiddleware"
COUNT_HEADERS = (
    "X-Query-Count",
    "X-Query-Time",
    "X-Query-Duplicates",
    "X-Query-Rows",
    "X-Query-Budget",
    "Server-Timing",
)


@pytest.fixture
def reports() -> Iterator[list[QueryReport]]:
    """The reports that the signal brought, in order."""
    heard: list[QueryReport] = []

    def listen(sender: Any, report: QueryReport, **kwargs: Any) -> None:
        heard.append(report)

    queries_measured.connect(listen)
    yield heard
    queries_measured.disconnect(listen)


@pytest.fixture(autouse=True)
def headers_for_all(settings: Any) -> None:
    settings.QUERYBUDGET = {"HEADERS": True}


def test_the_headers_say_what_the_view_did(client: Client, reports: list[QueryReport]) -> None:
    response = client.get("/two")
    assert response["X-Query-Count"] == "2"
    assert response["X-Query-Duplicates"] == "1"
    milliseconds = f"{reports[0].log.duration * 1000:.1f}"
    assert response["X-Query-Time"] == milliseconds
    assert response["Server-Timing"] == f'db;dur={milliseconds};desc="2 queries, 1 duplicate"'
    assert "X-Query-Budget" not in response
    assert response.content == b"0 0"


def test_a_view_without_queries_says_0(client: Client) -> None:
    response = client.get("/no_queries")
    assert (response["X-Query-Count"], response["X-Query-Time"]) == ("0", "0.0")
    assert response["Server-Timing"] == 'db;dur=0.0;desc="0 queries"'


def test_a_hosts_own_server_timing_is_kept(client: Client) -> None:
    assert client.get("/timed")["Server-Timing"].startswith("cache;dur=1.5, db;dur=")


def test_a_template_response_counts_what_its_rendering_queries(client: Client) -> None:
    Industry.objects.create(name="farming")
    assert client.get("/template")["X-Query-Count"] == "2"


def test_the_body_and_the_other_headers_are_the_same_with_and_without_it(client: Client) -> None:
    for path in ("/two", "/timed", "/template", "/stream", "/file", "/api/first", "/nothing"):
        with_it = client.get(path)
        others = [name for name in settings.MIDDLEWARE if name != OURS]
        with override_settings(MIDDLEWARE=others):
            without_it = Client().get(path)
        assert response_text(with_it) == response_text(without_it)
        assert with_it.status_code == without_it.status_code
        ours = {*COUNT_HEADERS, "Server-Timing"}
        theirs = {name: value for name, value in without_it.items() if name not in ours}
        assert {name: value for name, value in with_it.items() if name not in ours} == theirs


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-count.rst"])
def test_the_pages_that_show_the_headers_show_all_of_them(page: str) -> None:
    shown = re.findall(r"^ *(X-Query-\w+|Server-Timing): ", (ROOT / page).read_text(), re.MULTILINE)
    assert shown == [each for each in COUNT_HEADERS if each != "X-Query-Budget"]  # no budget there


# Streams.


def test_a_stream_is_reported_at_its_end_with_all_its_queries(
    client: Client, reports: list[QueryReport]
) -> None:
    response = client.get("/stream")
    assert reports == []
    Industry.objects.count()  # Not the stream's.
    assert response_text(response) == "0;0;0;"
    [report] = reports
    assert (report.log.count, report.streaming, report.status_code) == (4, True, 200)


def test_a_stream_has_no_count_header_rather_than_a_false_one(client: Client) -> None:
    response = client.get("/stream")
    assert not [name for name in COUNT_HEADERS if name in response]
    assert response_text(response) == "0;0;0;"


def test_what_the_consumer_of_a_stream_queries_is_not_the_streams(
    client: Client, reports: list[QueryReport]
) -> None:
    response = client.get("/stream")
    assert isinstance(response, StreamingHttpResponse)
    for _ in response:
        Industry.objects.count()
    assert reports[0].log.count == 4


def test_a_stream_that_breaks_is_reported_and_raises_its_own_error(
    client: Client, reports: list[QueryReport]
) -> None:
    response = client.get("/failing_stream")
    with pytest.raises(LookupError, match="the stream broke"):
        response_text(response)
    assert [report.log.count for report in reports] == [1]


@pytest.mark.django_db(transaction=True)
def test_a_stream_that_is_closed_twice_is_reported_once(
    client: Client, reports: list[QueryReport]
) -> None:
    response = client.get("/stream")
    response_text(response)
    response.close()
    response.close()
    assert [report.log.count for report in reports] == [4]


@pytest.mark.django_db(transaction=True)
def test_a_stream_that_is_never_taken_is_reported_when_it_is_closed(
    client: Client, reports: list[QueryReport]
) -> None:
    response = client.get("/stream")
    response.close()
    assert [report.log.count for report in reports] == [1]


@pytest.mark.django_db(transaction=True)
def test_a_head_request_of_a_stream_is_reported(client: Client, reports: list[QueryReport]) -> None:
    client.head("/stream").close()
    assert [report.name for report in reports] == ["HEAD stream"]


def test_a_file_is_left_to_the_servers_sendfile(reports: list[QueryReport]) -> None:
    request = RequestFactory().get("/file")
    response = QueryBudgetMiddleware(urls.file)(request)
    assert isinstance(response, FileResponse)
    assert response.file_to_stream is not None
    assert response["X-Query-Count"] == "1"
    assert [(report.log.count, report.streaming) for report in reports] == [(1, False)]
    response.file_to_stream.close()


# Names.


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/two", "GET two"),
        ("/spaced/two", "GET spaced:two"),
        ("/nameless/7", "GET /nameless/<int:number>"),
        ("/api/first", "GET api-1.0.0:first"),
        ("/api/second", "GET api-1.0.0:second"),
        ("/nowhere", "GET no view"),
    ],
)
def test_a_report_is_named_by_method_and_view(
    client: Client, reports: list[QueryReport], path: str, name: str
) -> None:
    client.get(path)
    assert [report.name for report in reports] == [name]


def test_the_method_is_in_the_name(client: Client, reports: list[QueryReport]) -> None:
    client.post("/two")
    assert (reports[0].name, reports[0].method, reports[0].view_name) == ("POST two", "POST", "two")


# Exceptions.


def test_an_exception_of_the_view_is_not_hidden(client: Client, reports: list[QueryReport]) -> None:
    with pytest.raises(LookupError, match="the view broke"):
        client.get("/crash")
    client.raise_request_exception = False
    response = client.get("/crash")
    assert (response.status_code, response["X-Query-Count"]) == (500, "1")
    assert [report.status_code for report in reports] == [500, 500]


def test_an_exception_below_it_passes_through() -> None:
    def broken(request: HttpRequest) -> HttpResponse:
        Industry.objects.count()
        raise LookupError

    with pytest.raises(LookupError):
        QueryBudgetMiddleware(broken)(RequestFactory().get("/"))


def test_a_view_that_is_cancelled_ends_its_recording(
    monkeypatch: pytest.MonkeyPatch, reports: list[QueryReport]
) -> None:
    recordings: list[Recording] = []
    leaked: list[Callable[[], int]] = []

    class Kept(Recording):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            recordings.append(self)

    async def view(request: HttpRequest) -> HttpResponse:
        leaked.append(copy_context(Industry.objects.count))
        await asyncio.sleep(60)
        return HttpResponse()

    async def request() -> None:
        response: Any = QueryBudgetMiddleware(view)(RequestFactory().get("/"))
        task = asyncio.ensure_future(response)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr("django_querybudget.middleware.Recording", Kept)
    asyncio.run(request())
    assert leaked[0]() == 0
    assert [recording.log.count for recording in recordings] == [0]
    assert reports == []


def test_got_request_exception_is_sent_once(client: Client) -> None:
    sent = []

    def listen(**kwargs: Any) -> None:
        sent.append(kwargs)

    got_request_exception.connect(listen)
    client.raise_request_exception = False
    client.get("/crash")
    got_request_exception.disconnect(listen)
    assert len(sent) == 1


def test_a_receiver_that_raises_is_logged_and_the_response_is_sent(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**kwargs: Any) -> None:
        raise ZeroDivisionError

    queries_measured.connect(broken)
    try:
        assert client.get("/two").status_code == 200
    finally:
        queries_measured.disconnect(broken)
    assert "ZeroDivisionError" in caplog.text


# Who may see the headers, and what is measured.


@pytest.mark.parametrize(
    ("debug", "internal_ips", "sent"),
    [
        (False, [], False),
        (True, [], True),
        # Behind a proxy on the same machine everybody has its address.
        (False, ["127.0.0.1"], False),
    ],
)
def test_by_default_strangers_get_no_headers(
    client: Client, debug: bool, internal_ips: list[str], sent: bool
) -> None:
    with override_settings(QUERYBUDGET={}, DEBUG=debug, INTERNAL_IPS=internal_ips):
        response = client.get("/two")
    assert [name in response for name in ("X-Query-Count", "Server-Timing")] == [sent, sent]


def for_operators(request: HttpRequest) -> bool:
    return request.headers.get("X-Operator") == "yes"


def broken_policy(request: HttpRequest) -> bool:
    raise ZeroDivisionError


def test_a_callable_decides_who_sees_the_headers(client: Client) -> None:
    with override_settings(QUERYBUDGET={"HEADERS": "tests.test_middleware.for_operators"}):
        assert "X-Query-Count" in client.get("/two", headers={"X-Operator": "yes"})
        assert "X-Query-Count" not in client.get("/two")


def test_a_policy_that_raises_sends_no_headers_and_is_logged(
    client: Client, caplog: pytest.LogCaptureFixture, reports: list[QueryReport]
) -> None:
    with override_settings(QUERYBUDGET={"HEADERS": broken_policy}):
        response = client.get("/two")
    assert (response.status_code, "X-Query-Count" in response) == (200, False)
    assert "could not report GET two" in caplog.text
    assert len(reports) == 1


@pytest.mark.parametrize(
    "setting", [{"ENABLED": False}, {"SAMPLE_RATE": 0}, {"IGNORE_PATHS": ["^/other", "^/tw"]}]
)
def test_what_is_not_measured_is_left_alone(
    client: Client, reports: list[QueryReport], setting: dict[str, Any]
) -> None:
    with override_settings(QUERYBUDGET={"HEADERS": True, **setting}):
        response = client.get("/two")
    assert response.content == b"0 0"
    assert "X-Query-Count" not in response
    assert reports == []


def test_an_ignored_path_is_one_that_matches(client: Client) -> None:
    with override_settings(QUERYBUDGET={"HEADERS": True, "IGNORE_PATHS": ["^/health"]}):
        assert "X-Query-Count" in client.get("/two")


def test_a_sample_is_a_share_of_the_requests(client: Client, reports: list[QueryReport]) -> None:
    random.seed(20)
    with override_settings(QUERYBUDGET={"SAMPLE_RATE": 0.5}):
        for _ in range(200):
            client.get("/no_queries")
    assert 70 < len(reports) < 130


def test_a_mistyped_setting_never_crashes_a_request(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"HEADERS": "no.such.policy", "SAMPLE_RATE": "x", "ENABLED": 3, "IGNORE_PATHS": 3}
    with override_settings(QUERYBUDGET=wrong):
        assert client.get("/two").status_code == 200
    assert caplog.text.count("Going on with the default") == len(wrong)


def test_origins_may_be_left_out(client: Client, reports: list[QueryReport]) -> None:
    client.get("/two")
    with override_settings(QUERYBUDGET={"ORIGINS": False}):
        client.get("/two")
    with_them, without = reports
    assert [query.origin.function for query in with_them.log if query.origin] == [
        "count_industries",
        "count_industries",
    ]
    assert [query.origin for query in without.log] == [None, None]


def test_each_report_is_logged_at_debug(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "django_querybudget"):
        client.get("/two")
    [record] = [record for record in caplog.records if record.name == "django_querybudget"]
    assert record.levelno == logging.DEBUG
    assert record.getMessage().startswith("GET two: 2 queries, 1 duplicate, ")
    assert record.report.log.count == 2  # type: ignore[attr-defined]


# No trace on the host.


def test_nothing_is_left_on_the_connection_or_the_middleware(client: Client) -> None:
    client.get("/two")
    wrappers = list(connection.execute_wrappers)
    middleware = QueryBudgetMiddleware(lambda request: HttpResponse(str(Industry.objects.count())))
    before = dict(vars(middleware))
    for path in ("/two", "/stream"):
        middleware(RequestFactory().get(path))
        response_text(client.get(path))
    assert list(connection.execute_wrappers) == wrappers
    assert vars(middleware) == before
    assert not connection.force_debug_cursor


def test_requests_inside_of_requests_count_for_both(reports: list[QueryReport]) -> None:
    def outer(request: HttpRequest) -> HttpResponseBase:
        Industry.objects.count()
        return Client().get("/two")

    QueryBudgetMiddleware(outer)(RequestFactory().get("/"))
    assert [report.log.count for report in reports] == [2, 3]


def test_it_is_sync_or_async_as_what_it_wraps() -> None:
    async def get_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    def sync_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert iscoroutinefunction(QueryBudgetMiddleware(get_response))
    assert not iscoroutinefunction(QueryBudgetMiddleware(sync_response))


# Under ASGI, through Django's handler: see test_asgi.py for a real server.


@pytest.fixture
def run_async() -> Callable[[Any], Any]:
    """Run to the end on a loop, then close the connections of the ORM's worker thread."""

    def run(work: Any) -> Any:
        async def closing() -> Any:
            try:
                return await work
            finally:
                await sync_to_async(connections.close_all)()

        return asyncio.run(closing())

    return run


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "count"),
    [("/two", 2), ("/async_two", 2), ("/async_gather", 5), ("/async_insensitive", 3)],
)
def test_the_async_client_sees_the_same_count(
    run_async: Callable[[Any], Any], path: str, count: int
) -> None:
    response = run_async(AsyncClient().get(path))
    assert response["X-Query-Count"] == str(count)


@pytest.mark.django_db(transaction=True)
def test_an_async_stream_is_reported_at_its_end(
    run_async: Callable[[Any], Any], reports: list[QueryReport]
) -> None:
    async def take() -> list[bytes]:
        response = await AsyncClient().get("/async_stream")
        assert reports == []
        chunks = []
        async for chunk in response:
            chunks.append(chunk)
            await Industry.objects.acount()
        return chunks

    assert run_async(take()) == [b"0;", b"0;", b"0;"]
    assert [report.log.count for report in reports] == [4]
    assert {query.origin.function for query in reports[0].log if query.origin} == {
        "async_stream",
        "async_stream.<locals>.chunks",
    }


def for_staff(request: HttpRequest) -> bool:
    """As the how-to guide has it; it queries, since no view of the tests reads the user."""
    user = getattr(request, "user", None)
    return user is not None and user.is_staff


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/two", "/async_two"])
def test_a_policy_that_queries_is_asked_under_asgi_too(
    run_async: Callable[[Any], Any], path: str
) -> None:
    staff = Client()
    staff.force_login(get_user_model().objects.create(username="boss", is_staff=True))
    client = AsyncClient()
    client.cookies = staff.cookies
    with override_settings(QUERYBUDGET={"HEADERS": for_staff}):
        response = run_async(client.get(path))
        stranger = run_async(AsyncClient().get(path))
    assert response["X-Query-Count"] == "2"
    assert "X-Query-Count" not in stranger


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/two", "/async_two", "/async_stream"])
def test_receivers_that_query_or_are_async_hear_under_asgi_too(
    run_async: Callable[[Any], Any], path: str
) -> None:
    heard = []

    def sync_receiver(**kwargs: Any) -> None:
        heard.append(Industry.objects.count())

    async def async_receiver(**kwargs: Any) -> None:
        heard.append(await Industry.objects.acount())

    async def take() -> None:
        response = await AsyncClient().get(path)
        if response.streaming:
            assert [chunk async for chunk in response]

    queries_measured.connect(sync_receiver)
    queries_measured.connect(async_receiver)
    try:
        run_async(take())
    finally:
        queries_measured.disconnect(sync_receiver)
        queries_measured.disconnect(async_receiver)
    assert heard == [0, 0]


@pytest.mark.django_db(transaction=True)
def test_under_a_real_wsgi_server_each_thread_counts_its_own(live_server: Any) -> None:
    paths = ["/two", "/no_queries"] * 10
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda path: httpx.get(f"{live_server.url}{path}"), paths))
    assert [response.headers["X-Query-Count"] for response in responses] == ["2", "0"] * 10
