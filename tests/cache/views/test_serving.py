"""What a cached view answers, what it keeps, and when it runs again."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.views.generic import View

from django_querybudget.cache import (
    CachedViewMixin,
    cache_stats,
    cached_queryset,
    cached_view,
    invalidate,
)
from django_querybudget.cache.reading import leases
from django_querybudget.cache.views import serving
from jobs.models import Industry

from .urls import runs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.cache.views.urls"),
]


@pytest.fixture(autouse=True)
def rows() -> None:
    caches["default"].clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])
    cache_stats(reset=True)
    runs.clear()
    leases._unstored.clear()


def get(path: str, **headers: str) -> Any:
    return Client().get(path, headers=headers)


def not_stored() -> list[str]:
    return [*cache_stats().not_stored]


# What it depends on


@pytest.mark.parametrize("path", ["industries", "lazy_template", "in_async"])
def test_a_write_is_seen_by_the_next_request(path: str) -> None:
    first = get(f"/{path}/").content
    assert b"one" in first
    with CaptureQueriesContext(connection) as queries:
        assert get(f"/{path}/").content == first
    assert len(queries) == 0
    assert len(runs) == 1
    Industry.objects.filter(name="one").update(name="three")
    assert b"three" in get(f"/{path}/").content
    Industry.objects.create(name="four")
    assert b"four" in get(f"/{path}/").content
    Industry.objects.all().delete()
    assert b"four" not in get(f"/{path}/").content
    assert len(runs) == 4


def test_it_is_seen_from_the_commit_on() -> None:
    get("/industries/")
    with transaction.atomic():
        Industry.objects.create(name="three")
        assert b"three" in get("/industries/").content
    assert b"three" in get("/industries/").content
    with transaction.atomic():
        Industry.objects.create(name="four")
        assert b"four" in get("/industries/").content
        transaction.set_rollback(True)
    assert b"four" not in get("/industries/").content


def test_a_cached_queryset_inside_hands_its_tables_on() -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        found = cached_queryset(Industry.objects.order_by("pk"))
        return HttpResponse(",".join(each.name for each in found))

    list(cached_queryset(Industry.objects.order_by("pk")))
    request = RequestFactory().get("/")
    assert view(request).content == view(request).content == b"one,two"
    Industry.objects.filter(name="one").update(name="three")
    assert view(request).content == b"three,two"


def test_a_view_without_a_statement_is_kept_until_its_tag_is_dropped() -> None:
    for _ in range(3):
        get("/constant/")
    assert runs == ["constant"]
    invalidate("front")
    get("/constant/")
    assert runs == ["constant"] * 2
    invalidate("view:tests.cache.views.urls.constant")
    get("/constant/")
    assert runs == ["constant"] * 3


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_row_by_its_key_depends_on_that_row_where_the_driver_counts() -> None:
    one, two = (Industry.objects.using("postgres").create(name=name) for name in ("p1", "p2"))
    seen: list[int] = []

    @cached_view(60, vary_on=())
    def view(request: HttpRequest, pk: int) -> HttpResponse:
        seen.append(pk)
        found = Industry.objects.using("postgres").filter(pk=pk).first()
        return HttpResponse(found.name if found else "none")

    def ask(pk: int) -> str:
        return str(view(RequestFactory().get(f"/{pk}/"), pk).content.decode())

    absent = two.pk + 1
    assert [ask(each) for each in (one.pk, two.pk, absent)] == ["p1", "p2", "none"]
    Industry.objects.using("postgres").filter(pk=two.pk).update(name="p3")
    seen.clear()
    assert [ask(each) for each in (one.pk, two.pk, absent)] == ["p1", "p3", "none"]
    assert one.pk not in seen
    Industry.objects.using("postgres").create(pk=absent, name="p4")
    assert [ask(each) for each in (one.pk, two.pk, absent)] == ["p1", "p3", "p4"]


def test_a_view_that_writes_is_not_kept() -> None:
    for _ in range(2):
        get("/writes/")
    assert runs == ["writes"] * 2
    assert not_stored() == ["the read wrote"]


def test_what_a_thread_of_the_view_reads_is_not_kept() -> None:
    def names() -> str:
        try:
            return ",".join(Industry.objects.order_by("pk").values_list("name", flat=True))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(names).result()  # its thread is older than the request

        @cached_view(60, vary_on=())
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(pool.submit(names).result())

        assert view(RequestFactory().get("/")).content == b"one,two"
        Industry.objects.filter(name="one").update(name="three")
        assert view(RequestFactory().get("/")).content == b"three,two"
    assert not_stored() == ["a statement in a thread of its own"]


def test_what_its_tasks_read_counts() -> None:
    @cached_view(60, vary_on=())
    async def view(request: HttpRequest) -> HttpResponse:
        one, two = await asyncio.gather(
            Industry.objects.filter(name="one").acount(), Industry.objects.acount()
        )
        return HttpResponse(f"{one} {two}")

    async def ask() -> bytes:
        response = await view(RequestFactory().get("/"))
        return bytes(response.content)

    # The first one's thread has no connection yet, of whose session the key would speak.
    assert asyncio.run(ask()) == asyncio.run(ask()) == asyncio.run(ask()) == b"1 2"
    assert cache_stats().hits >= 1
    Industry.objects.create(name="three")
    assert asyncio.run(ask()) == b"1 3"


# What is kept


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("stream", "a stream"),
        ("file", "a stream"),
        ("failing", "status 500"),
        ("sets_cookie", "a cookie is set"),
        ("session_write", "the session was changed"),
        ("csrf_form", "a CSRF token was used"),
        ("private", "Cache-Control: private"),
        ("no_store", "Cache-Control: no-store"),
        ("varied_on_all", "Vary: *"),
        ("adds_message", "the view read messages"),
    ],
)
def test_what_is_not_kept_and_why(path: str, reason: str) -> None:
    client = Client()
    first, second = client.get(f"/{path}/"), client.get(f"/{path}/")
    assert runs == [path] * 2
    assert reason in not_stored()
    assert first.status_code == second.status_code
    first.close(), second.close()


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_unsafe_methods_run_the_view(method: str) -> None:
    get("/constant/")
    for _ in range(2):
        getattr(Client(), method)("/constant/")
    assert len(runs) == 3


def test_a_parameter_that_changes_nothing() -> None:
    for query in ("", "?utm_source=a", "?ref=b&utm_x=c", "?page=2", "?page=2&ref=x"):
        get(f"/campaign/{query}")
    assert len(runs) == 2


def test_what_cannot_be_told_apart_is_not_looked_up() -> None:
    for _ in range(2):
        get("/by_nothing_that_can_be_told/")
    assert len(runs) == 2
    (reason,) = cache_stats().bypasses
    assert "vary_on" in reason


def test_an_argument_that_holds_itself_is_a_bypass() -> None:
    @cached_view(60)
    def view(request: HttpRequest, given: Any) -> HttpResponse:
        return HttpResponse("answered")

    itself: list[Any] = []
    itself.append(itself)
    assert view(RequestFactory().get("/"), given=itself).content == b"answered"
    assert list(cache_stats().bypasses) == [
        "view: an argument of the view: a list that holds itself, or is nested too deep"
    ]


def test_a_timeout_of_zero_keeps_nothing() -> None:
    seen = []

    @cached_view(0)
    def view(request: HttpRequest) -> HttpResponse:
        seen.append(1)
        return HttpResponse("x")

    for _ in range(2):
        view(RequestFactory().get("/"))
    assert len(seen) == 2


# HTTP


def test_a_hit_is_the_same_response() -> None:
    first, second = get("/industries/"), get("/industries/")
    assert len(runs) == 1
    assert first.content == second.content
    assert first.status_code == second.status_code
    assert dict(first.items()) == dict(second.items())
    assert first["ETag"].startswith('"')


def test_a_hit_says_that_it_depends_on_the_session_as_the_view_did() -> None:
    """Or a cache further on would send it to visitors who have a session."""
    first, second = get("/session_for_all/"), get("/session_for_all/")
    assert len(runs) == 1
    assert first["Vary"] == second["Vary"]
    assert "Cookie" in second["Vary"]


def test_reasons_that_hold_a_clients_words_are_bounded() -> None:
    @cached_view(60)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.COOKIES.get(request.GET["name"], ""))

    for number in range(300):
        name = f"{number}{'x' * 1000}"
        request = RequestFactory().get("/", {"name": name}, headers={"Cookie": f"{name}=1"})
        view(request)
    found = cache_stats().not_stored
    assert sum(found.values()) == 300
    assert len(found) <= 101
    assert max(map(len, found)) <= 200


def test_who_waits_is_one_miss() -> None:
    go = threading.Event()

    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        go.set()
        time.sleep(0.3)
        return HttpResponse("x")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(view, RequestFactory().get("/"))
        go.wait()
        second = pool.submit(view, RequestFactory().get("/"))
        assert first.result().content == second.result().content == b"x"
    assert (cache_stats().misses, cache_stats().hits) == (2, 1)


def test_a_304_without_running_the_view() -> None:
    etag = get("/industries/")["ETag"]
    response = get("/industries/", **{"If-None-Match": etag})
    assert (response.status_code, response.content, len(runs)) == (304, b"", 1)
    Industry.objects.create(name="three")
    response = get("/industries/", **{"If-None-Match": etag})
    assert (response.status_code, len(runs)) == (200, 2)


def test_head_is_answered_from_get() -> None:
    get("/industries/")
    response = Client().head("/industries/")
    assert (response.status_code, response.content, len(runs)) == (200, b"", 1)


def test_age_is_told_where_caches_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Age" not in get("/aged/")
    clock = time.time() + 7
    monkeypatch.setattr("django_querybudget.cache.views.answers.time.time", lambda: clock)
    assert get("/aged/")["Age"] == "7"
    assert "Age" not in get("/industries/")
    assert "Age" not in get("/industries/")


@pytest.mark.parametrize("first", [True, False])
def test_with_djangos_own_middleware_around_it(first: bool) -> None:
    own = [
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
    ]
    middleware = [*own, "django.middleware.common.CommonMiddleware"]
    if not first:
        middleware.reverse()
    with override_settings(MIDDLEWARE=middleware):
        Industry.objects.bulk_create([Industry(name=f"industry {n}") for n in range(100)])
        one, two = (get("/industries/", **{"Accept-Encoding": "gzip"}) for _ in range(2))
        assert one["Content-Encoding"] == two["Content-Encoding"] == "gzip"
        assert one["ETag"] == two["ETag"]
        again = get("/industries/", **{"Accept-Encoding": "gzip", "If-None-Match": one["ETag"]})
        assert again.status_code == 304
        assert len(runs) == 1


# Many at once


def test_one_of_many_tasks_computes(patient: None) -> None:
    seen: list[int] = []

    @cached_view(60, vary_on=())
    async def view(request: HttpRequest) -> HttpResponse:
        seen.append(1)
        await asyncio.sleep(0.2)
        return HttpResponse(f"{await Industry.objects.acount()}")

    async def ask() -> list[bytes]:
        found = await asyncio.gather(*(view(RequestFactory().get("/")) for _ in range(8)))
        return [bytes(each.content) for each in found]

    assert set(asyncio.run(ask())) == {b"2"}
    assert len(seen) == 1


def test_a_leader_that_fails_or_dies_lets_others_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        seen.append(1)
        if len(seen) == 1:
            raise ZeroDivisionError
        return HttpResponse("done")

    request = RequestFactory().get("/")
    with pytest.raises(ZeroDivisionError):
        view(request)
    monkeypatch.setattr(leases, "WAIT", -1.0)  # nobody waits: it is free at once
    assert view(request).content == b"done"
    # One that was killed has the lease still: after WAIT seconds others go on.
    seen[:] = [0]
    invalidate("view:" + f"{view.__module__}.{view.__qualname__}")
    found = serving.served(
        f"{view.__module__}.{view.__qualname__}", _options(view), RequestFactory().get("/")
    )
    assert found is not None
    assert caches["default"].add(found.lease, b"1", 60)
    assert view(request).content == b"done"


def _options(view: Any) -> Any:
    return view._querybudget_cached_view.options


# Wrong use


def mixed(**attributes: Any) -> Any:
    return type("Mixed", (CachedViewMixin, View), attributes)


def test_a_mixins_wrong_attribute_that_is_found_late_is_a_bypass(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def get(self: Any, request: HttpRequest) -> HttpResponse:
        return HttpResponse("x")

    view = mixed(cache_timeout=property(lambda self: -1), get=get).as_view()
    for _ in range(2):
        assert view(RequestFactory().get("/")).content == b"x"
    assert "timeout must be 0 seconds or more" in " ".join(cache_stats().bypasses)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(None, True), (["a", {"b"}], True), ({"a": [1]}, True), (object(), False), (open, False)],
)
def test_what_a_callable_in_vary_on_returns_is_part_of_the_key_or_a_bypass(
    value: Any, kept: bool
) -> None:
    @cached_view(60, vary_on=(lambda request: value,))
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("x")

    for _ in range(2):
        assert view(RequestFactory().get("/")).content == b"x"
    assert cache_stats().hits == (1 if kept else 0)
    assert bool(cache_stats().bypasses) is not kept


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: cached_view(lambda request: None), TypeError),
        (lambda: cached_view(-1), ValueError),
        (lambda: cached_view("60"), TypeError),
        (lambda: cached_view(60, vary_on="user"), TypeError),
        (lambda: cached_view(60, vary_on=("usr",)), ValueError),
        (lambda: cached_view(60, vary_on=("cookie:",)), ValueError),
        (lambda: cached_view(60, vary_on=(7,)), TypeError),
        (lambda: cached_view(60, vary_on=None), TypeError),  # type: ignore[arg-type]
        (lambda: cached_view(60, vary_on=(None,)), TypeError),  # type: ignore[arg-type]
        (lambda: cached_view(60, vary_on=(["user"],)), TypeError),  # type: ignore[arg-type]
        (lambda: cached_view(float("nan")), ValueError),
        (lambda: mixed(cache_timeout=-1), ValueError),
        (lambda: mixed(cache_vary_on=("usr",)), ValueError),
        (lambda: mixed(cache_tags="x"), TypeError),
        (lambda: mixed(cache_refresh=0), ValueError),
        (lambda: mixed().as_view(cache_timeout=-1), ValueError),
        (lambda: cached_view(60, tags="x"), TypeError),
        (lambda: cached_view(60, cache="nowhere"), ValueError),
        (lambda: cached_view(60, ignore_params="utm"), TypeError),
        (lambda: cached_view(60)(7), TypeError),
        (lambda: cached_view(60)(dict), TypeError),
    ],
)
def test_bad_arguments_are_named(make: Any, error: type[Exception]) -> None:
    with pytest.raises(
        error, match=r"cached_view|timeout|vary_on|tags|cache|ignore_params|class|refresh"
    ):
        make()


def test_a_method_that_is_given_no_request_says_so() -> None:
    class Wrong(View):
        @cached_view(60)  # type: ignore[arg-type]
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("x")

    with pytest.raises(TypeError, match="method_decorator"):
        Wrong.as_view()(RequestFactory().get("/"))


@pytest.mark.parametrize("content", [b"", b"\x00", b"qb4\n", b"qb4\n{}\n{}", b"nonsense" * 99])
def test_a_foreign_value_is_a_miss(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    get("/industries/")
    for key in list(caches["default"]._cache):  # type: ignore[attr-defined]
        if ":e:" in key or "qb:e:" in key:
            caches["default"].set(key.split(":", 2)[2], content)
    assert b"one" in get("/industries/").content
    assert b"one" in get("/industries/").content
    assert len(runs) == 2


def test_async_client() -> None:
    async def ask() -> bytes:
        return bytes((await AsyncClient().get("/in_async/")).content)

    assert asyncio.run(ask()) == asyncio.run(ask()) == b"['one', 'two']"
    assert len(runs) == 1


def test_the_request_is_as_it_was() -> None:
    request = RequestFactory().get("/", headers={"X-Team": "a"})
    kind, before = type(request), dict(request.__dict__)

    @cached_view(60)
    def view(request: HttpRequest) -> HttpResponse:
        assert isinstance(request, kind)
        assert request.META["HTTP_X_TEAM"] == "a"
        request.META["NEW"] = "set"
        request.own = 1  # type: ignore[attr-defined]
        return HttpResponse(str(request.own))  # type: ignore[attr-defined]

    assert view(request).content == b"1"
    assert type(request) is kind
    assert request.META["NEW"] == "set"
    assert request.__dict__.keys() - before.keys() == {"own"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "{etag}"}, 304),
        ({"If-None-Match": "W/{etag}"}, 304),
        ({"If-None-Match": '"other", {etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": "{etag}", "If-Match": '"other"'}, 412),
        ({"If-Match": "{etag}"}, 200),
        ({"If-None-Match": "{etag}", "If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}, 304),
    ],
)
def test_a_304_is_as_djangos_own(headers: dict[str, str], status: int) -> None:
    from django.views.decorators.http import conditional_page
    from django.views.decorators.vary import vary_on_headers

    def bare(request: HttpRequest) -> HttpResponse:
        return HttpResponse("x", headers={"Cache-Control": "max-age=5", "X-Own": "y"})

    view = cached_view(60, vary_on=())(vary_on_headers("Accept")(bare))
    for _ in range(2):  # the second one's key holds what Vary named
        etag = view(RequestFactory().get("/"))["ETag"]
    asked = {name: value.format(etag=etag) for name, value in headers.items()}
    cache_stats(reset=True)
    ours = view(RequestFactory().get("/", headers=asked))
    assert cache_stats().hits == 1

    def as_stored(request: HttpRequest) -> HttpResponse:
        response = bare(request)
        response["Vary"], response["ETag"] = "Accept", etag
        return response

    djangos = conditional_page(as_stored)(RequestFactory().get("/", headers=asked))
    assert (ours.status_code, ours.content) == (status, djangos.content)
    assert djangos.status_code == status
    own = dict(ours.headers)
    if status == 200:
        own.pop("Age")
    assert own == dict(djangos.headers)


def test_what_another_request_learns_meanwhile_puts_no_answer_under_a_wrong_key() -> None:
    """The key that a request has asked under may lack a header that is in all keys by now."""
    from django.views.decorators.vary import vary_on_headers

    from django_querybudget.cache.views import learned

    @vary_on_headers("X-Team")
    def bare(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.headers["X-Team"])

    def of(team: str) -> HttpRequest:
        return RequestFactory().get("/", headers={"X-Team": team})

    view = cached_view(60, vary_on=())(bare)
    name = f"{view.__module__}.{view.__qualname__}"
    first: Any = serving.served(name, _options(view), of("red"))
    assert view(of("blue")).content == b"blue"  # it learns of the header
    with first.running():
        response = bare(first.request)
    first.done(response)
    assert first.stored
    learned._varies.clear()  # as in a process that does not know
    assert view(of("green")).content == b"green"
    assert view(of("red")).content == b"red"


def test_the_charset_of_the_query_string_is_in_the_key() -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.GET["q"])

    def ask(charset: str) -> str:
        request = RequestFactory().get("/?q=%e4", CONTENT_TYPE=f"text/x; charset={charset}")
        return view(request).content.decode()

    for _ in range(2):
        assert (ask("iso-8859-1"), ask("iso-8859-5")) == ("ä", "ф")
