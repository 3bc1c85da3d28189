"""The counts under a real ASGI server: uvicorn, over a socket, with concurrent requests.

A middleware that enters ``connection.execute_wrapper()`` by itself counts 0 here for every async
view: the ORM queries on another thread's connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application

from django_querybudget.reports import QueryReport
from django_querybudget.signals import queries_measured
from jobs.models import Industry
from tests.asgi_server import serving

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.urls")]


@pytest.fixture
def address(settings: Any, transactional_db: None) -> Iterator[str]:
    """The URL of a uvicorn that serves the tests' views on a port of its own."""
    settings.QUERYBUDGET = {"HEADERS": True}
    with serving(get_asgi_application()) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def reports() -> Iterator[list[QueryReport]]:
    heard: list[QueryReport] = []

    def listen(sender: Any, report: QueryReport, **kwargs: Any) -> None:
        heard.append(report)

    queries_measured.connect(listen)
    yield heard
    queries_measured.disconnect(listen)


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/two", 2),
        ("/no_queries", 0),
        ("/template", 2),
        ("/async_two", 2),
        ("/async_gather", 5),
        ("/async_insensitive", 3),
    ],
)
def test_every_kind_of_view_is_counted_right(address: str, path: str, count: int) -> None:
    Industry.objects.create(name="farming")
    response = httpx.get(f"{address}{path}")
    assert (response.status_code, response.headers["X-Query-Count"]) == (200, str(count))


@pytest.mark.parametrize("path", ["/stream", "/async_stream"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_streams_are_reported_at_their_end(
    address: str, reports: list[QueryReport], path: str
) -> None:
    response = httpx.get(f"{address}{path}")
    assert response.text == "0;0;0;"
    assert "X-Query-Count" not in response.headers
    deadline = time.monotonic() + 10
    while not reports and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [report.log.count for report in reports] == [4]


def test_requests_at_the_same_time_never_count_for_one_another(address: str) -> None:
    expected = {"/two": "2", "/async_two": "2", "/async_gather": "5", "/no_queries": "0"}

    async def work() -> list[tuple[str, str]]:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:

            async def get(path: str) -> tuple[str, str]:
                return path, (await client.get(path)).headers["X-Query-Count"]

            return await asyncio.gather(*(get(path) for path in expected for _ in range(10)))

    assert set(asyncio.run(work())) == set(expected.items())


def test_the_lines_of_async_views_are_found(address: str, reports: list[QueryReport]) -> None:
    httpx.get(f"{address}/async_two")
    assert {query.origin.function for query in reports[0].log if query.origin} == {"async_two"}
