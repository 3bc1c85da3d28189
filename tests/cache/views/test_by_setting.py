"""``CACHE["VIEWS"]`` and its middleware: whose view, in which place, and what is left alone."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core import checks
from django.core.cache import caches
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils import translation

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_view, invalidate
from django_querybudget.cache.reading import leases
from django_querybudget.cache.views import bypasses
from django_querybudget.middleware import CachedViewMiddleware
from jobs.models import Industry

from .setting_urls import runs

HERE = "tests.cache.views"
OURS = "django_querybudget.middleware.CachedViewMiddleware"
DJANGOS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(f"{HERE}.setting_urls")]


@pytest.fixture(autouse=True)
def stage() -> Iterator[None]:
    caches["default"].clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])
    leases._unstored.clear()
    bypasses._told.clear()
    cache_stats(reset=True)
    runs.clear()
    with by_setting({"*": {"timeout": 60, "vary_on": []}}):
        yield
    translation.deactivate()  # what LocaleMiddleware has left in this thread


def by_setting(
    views: dict[str, Any], *, middleware: list[str] | None = None, headers: Any = None
) -> Any:
    return override_settings(
        QUERYBUDGET={"CACHE": {"VIEWS": views}, "HEADERS": headers},
        MIDDLEWARE=[*DJANGOS, OURS] if middleware is None else middleware,
    )


def get(path: str, client: Client | None = None, **headers: str) -> Any:
    return (client or Client()).get(path, headers=headers)


def reasons() -> str:
    stats = cache_stats()
    return " ".join([*stats.not_stored, *stats.bypasses])


# Whose


@pytest.mark.parametrize(
    ("views", "cached"),
    [
        ({"jobs:list": 60}, {"/jobs/list/"}),
        ({"jobs:*": 60}, {"/jobs/list/", "/jobs/other/"}),
        ({"jobs:*": 60, "jobs:other": 0}, {"/jobs/list/"}),
        ({"/route/<int:pk>/": 60}, {"/route/1/"}),
        ({"/route/*": {"timeout": 60}}, {"/route/1/"}),
        ({"GET jobs:list": 60, "POST jobs:other": 60}, {"/jobs/list/"}),
        ({"*": 60}, {"/jobs/list/", "/jobs/other/", "/route/1/", "/uncached/"}),
        ({}, set()),
    ],
)
def test_names_are_those_of_budgets(views: dict[str, Any], cached: set[str]) -> None:
    with by_setting(views):
        for path in ("/jobs/list/", "/jobs/other/", "/route/1/", "/uncached/"):
            runs.clear()
            assert get(path).content == get(path).content == b"one,two"
            assert len(runs) == (1 if path in cached else 2), path


@pytest.mark.parametrize("path", ["/jobs/list/", "/template/"])
def test_a_write_is_seen_by_the_next_request(path: str) -> None:
    first = get(path).content
    assert get(path).content == first
    Industry.objects.filter(name="one").update(name="three")
    assert b"three" in get(path).content
    Industry.objects.create(name="four")
    assert b"four" in get(path).content
    assert len(runs) == 3


def test_under_asgi_too() -> None:
    async def ask(path: str) -> bytes:
        return bytes((await AsyncClient().get(path)).content)

    for path in ("/in_async/", "/jobs/list/", "/template/"):
        runs.clear()
        assert asyncio.run(ask(path)) == asyncio.run(ask(path))
        assert len(runs) == 1, path
    Industry.objects.create(name="three")
    assert asyncio.run(ask("/in_async/")) == b"3"


def test_an_async_view_under_wsgi() -> None:
    assert get("/in_async/").content == get("/in_async/").content == b"2"
    assert len(runs) == 1


def test_a_middleware_that_is_sync_alone_below_it_under_asgi() -> None:
    async def ask() -> bytes:
        return bytes((await AsyncClient().get("/jobs/list/")).content)

    below = f"{HERE}.middleware.sets_tenant"  # refused: what it does would be passed over
    with by_setting({"*": 60}, middleware=[*DJANGOS, below, OURS]):
        assert asyncio.run(ask()) == asyncio.run(ask())
    assert len(runs) == 1


def test_a_decorator_comes_first() -> None:
    with by_setting({"*": {"timeout": 60, "tags": ["setting"]}}):
        for _ in range(2):
            get("/decorated/")
        assert cache_stats().stores == 1
        invalidate("setting")
        get("/decorated/")
        assert len(runs) == 1
        invalidate("decorator")
        get("/decorated/")
    assert len(runs) == 2


@pytest.mark.parametrize("views", [{}, {"*": 60}], ids=["by decorator", "by both"])
@pytest.mark.parametrize(
    "path", ["/of_django/", "/of_framework/", "/set/named/", "/whole/plain/", "/whole/named/"]
)
def test_classes_are_decorated_as_other_decorators_do(path: str, views: dict[str, Any]) -> None:
    with by_setting(views):
        for number in range(1, 4):
            first = get(path)
            assert (first.status_code, get(path).content) == (200, first.content)
            assert len(runs) == number
            Industry.objects.create(name=f"new {number}")
        pk = Industry.objects.latest("pk").pk
        assert get(f"/set/{pk}/one/").content == get(f"/set/{pk}/one/").content == b'"new 3"'


def test_a_share_of_its_hits_is_computed_again_and_compared() -> None:
    """What no statement told: of a stored answer that is not what the database says."""
    with by_setting({"*": {"timeout": 60, "vary_on": []}}) as _:
        get("/jobs/list/")
        own = {**settings.QUERYBUDGET["CACHE"], "AUDIT": 1.0}
        with override_settings(QUERYBUDGET={"CACHE": own}):
            get("/jobs/list/")
            get("/in_async/"), get("/in_async/")
            stats = cache_stats()
    assert (stats.audited, stats.stale) == (2, 0)
    assert runs == ["jobs:list"] * 2 + ["in_async"] * 2


def test_its_answers_are_dropped_by_the_views_name() -> None:
    get("/jobs/list/")
    invalidate("view:jobs:list")
    get("/jobs/list/")
    assert len(runs) == 2


def test_a_304_and_a_head_do_not_run_the_view() -> None:
    etag = get("/jobs/list/")["ETag"]
    assert get("/jobs/list/", **{"If-None-Match": etag}).status_code == 304
    head = Client().head("/jobs/list/")
    assert (head.status_code, head.content, len(runs)) == (200, b"", 1)


def test_the_request_keeps_its_match_and_its_class() -> None:
    seen: list[Any] = []

    def look(request: HttpRequest) -> HttpResponse:
        response = HttpResponse()
        seen.append((type(request), [name for name in vars(request) if "querybudget" in name]))
        return response

    CachedViewMiddleware(look)(RequestFactory().get("/"))
    response = get("/jobs/list/")
    request = response.wsgi_request
    assert type(request).__getattribute__ is object.__getattribute__
    assert not [name for name in vars(request) if "querybudget" in name]
    assert get("/jobs/list/").wsgi_request.resolver_match.view_name == "jobs:list"


# What it leaves alone


def test_an_exception_is_the_views_own_and_stores_nothing() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="of the view"):
            get("/raises/")
    assert len(runs) == 2
    client = Client(raise_request_exception=False)
    assert client.get("/raises/").status_code == 500


def makes_a_response_of_errors(get_response: Any) -> Any:
    class Middleware:
        def __call__(self, request: HttpRequest) -> Any:
            return get_response(request)

        def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse:
            return HttpResponse("an excuse")

    return Middleware()


def test_a_middleware_that_makes_a_response_of_it_is_asked_and_it_is_not_kept() -> None:
    with by_setting(
        {"*": 60}, middleware=[*DJANGOS, f"{__name__}.makes_a_response_of_errors", OURS]
    ):
        for _ in range(2):
            assert get("/raises/").content == b"an excuse"
    assert len(runs) == 2
    assert "the view raised ValueError" in reasons()


def changes_templates(get_response: Any) -> Any:
    class Middleware:
        def __call__(self, request: HttpRequest) -> Any:
            return get_response(request)

        def process_template_response(self, request: HttpRequest, response: Any) -> Any:
            response.context_data["told"] = "told "
            return response

    return Middleware()


def test_a_middleware_that_changes_a_templates_response_changes_it_once() -> None:
    with by_setting({"*": 60}, middleware=[*DJANGOS, f"{__name__}.changes_templates", OURS]):
        assert get("/template/").content == get("/template/").content == b"told one,two,"
    assert len(runs) == 1


def test_the_view_has_its_transaction() -> None:
    databases = {**settings.DATABASES["default"], "ATOMIC_REQUESTS": True}
    before = connections.settings["default"]["ATOMIC_REQUESTS"]
    del databases
    connections.settings["default"]["ATOMIC_REQUESTS"] = True
    try:
        assert get("/in_transaction/").content == b"True"
        assert get("/in_transaction/").content == b"True"
    finally:
        connections.settings["default"]["ATOMIC_REQUESTS"] = before
    assert len(runs) == 1


# Where it stands


def lets_staff_in(get_response: Any) -> Any:
    class Middleware:
        def __call__(self, request: HttpRequest) -> Any:
            return get_response(request)

        def process_view(self, request: Any, *_: Any) -> HttpResponse | None:
            return None if request.user.is_staff else HttpResponse("no entry", status=403)

    return Middleware()


STAFF = f"{__name__}.lets_staff_in"


@pytest.mark.parametrize(
    ("middleware", "kept"),
    [
        ([*DJANGOS, STAFF, OURS], True),
        ([*DJANGOS, OURS, STAFF], False),
        ([OURS, *DJANGOS, STAFF], False),
        ([DJANGOS[0], OURS, DJANGOS[1], STAFF], False),
    ],
)
def test_who_may_not_see_a_view_does_not_see_its_answer(middleware: list[str], kept: bool) -> None:
    staff = CustomUser.objects.create_user(username="staff", email="s@x", is_staff=True)
    client = Client()
    client.force_login(staff)
    with by_setting({"*": {"timeout": 60, "vary_on": []}}, middleware=middleware):
        for _ in range(2):
            assert get("/jobs/list/", client).content == b"one,two"
            assert get("/jobs/list/").status_code == 403
    assert len(runs) == (1 if kept else 2)
    assert ("below CachedViewMiddleware" in reasons()) is not kept


def test_twice_in_the_list_is_once() -> None:
    with by_setting({"*": 60}, middleware=[*DJANGOS, OURS, OURS]):
        assert get("/jobs/list/").content == get("/jobs/list/").content
    assert len(runs) == 1
    assert (cache_stats().misses, cache_stats().hits) == (1, 1)


AROUND = {
    "gzip": "django.middleware.gzip.GZipMiddleware",
    "conditional": "django.middleware.http.ConditionalGetMiddleware",
    "locale": "django.middleware.locale.LocaleMiddleware",
    "common": "django.middleware.common.CommonMiddleware",
}


@pytest.mark.parametrize("first", ["ours", *AROUND])
def test_bodies_are_equal_in_any_order_of_djangos_middleware(first: str) -> None:
    Industry.objects.bulk_create([Industry(name=f"industry {number}") for number in range(40)])
    for order in itertools.permutations(["ours", *AROUND]):
        if order[0] == first:
            caches["default"].clear()
            _same_with_and_without(order)


def _same_with_and_without(order: tuple[str, ...]) -> None:
    plain = [*DJANGOS, *(AROUND[each] for each in order if each != "ours")]
    with_ours = [*DJANGOS, *({**AROUND, "ours": OURS}[each] for each in order)]
    asked = {"Accept-Encoding": "gzip", "Accept-Language": "de"}
    with by_setting({}, middleware=plain):
        bare = get("/jobs/list/", **asked)
    runs.clear()
    with by_setting({"*": 60}, middleware=with_ours):
        client = Client()
        for _ in range(3):
            response = get("/jobs/list/", client, **asked)
            assert _unzipped(response) == _unzipped(bare), order
            for name in ("Content-Encoding", "Content-Type", "Content-Language", "Vary"):
                assert _words(response.get(name)) == _words(bare.get(name)), (name, order)
            assert bare.get("Content-Length") is None or (
                int(response["Content-Length"]) == len(response.content)
            ), order
        assert len(runs) == 1, order
        again = get("/jobs/list/", client, **asked, **{"If-None-Match": response["ETag"]})
        assert (again.status_code, again.content) == (304, b""), order
        unzipped = get("/jobs/list/", client, **{"Accept-Language": "de"})
        assert unzipped.content == _unzipped(bare), order


def _unzipped(response: Any) -> bytes:
    import gzip

    body: bytes = response.content
    return gzip.decompress(body) if response.get("Content-Encoding") == "gzip" else body


def _words(text: str | None) -> set[str]:
    return {each.strip().lower() for each in (text or "").split(",")}


@pytest.mark.parametrize("path", ["/user/", "/jobs/list/"])
def test_only_a_view_that_read_its_user_says_that_it_varies_on_the_cookie(path: str) -> None:
    with by_setting({}):
        bare = get(path)
    with by_setting({"*": 60}):
        for _ in range(2):
            assert get(path).get("Vary") == bare.get("Vary")
    assert bare.get("Vary") == ("Cookie" if path == "/user/" else None)


# Cache-Status


def statuses(path: str, times: int = 2, method: str = "get", **headers: str) -> list[str]:
    client = Client()
    return [
        getattr(client, method)(path, headers=headers).get("Cache-Status", "") for _ in range(times)
    ]


def test_cache_status_says_what_became_of_a_request() -> None:
    with by_setting({"*": {"timeout": 60, "vary_on": []}}, headers=True):
        first, second = statuses("/jobs/list/")
        assert first == "django-querybudget; fwd=miss; stored; ttl=60"
        assert re.fullmatch(r"django-querybudget; hit; ttl=(59|60)", second)
        assert statuses("/jobs/list/", 1, "post") == ["django-querybudget; fwd=method"]
        assert statuses("/user/", 1, Cookie="a=1")[0].endswith("stored; ttl=60")
    with by_setting({"user": {"vary_on": [f"{__name__}.an_object"]}}, headers=True):
        (bypass,) = statuses("/user/", 1)
        assert bypass.startswith('django-querybudget; fwd=bypass; detail="vary_on: an_object()')
    with by_setting({"jobs:list": 0}, headers=True):
        assert statuses("/jobs/list/", 1) == [
            'django-querybudget; fwd=bypass; detail="its timeout is 0"'
        ]
    with by_setting({"jobs:list": {"timeout": None}}, headers=True):
        assert statuses("/jobs/list/") == [
            "django-querybudget; fwd=miss; stored", "django-querybudget; hit",
        ]  # fmt: skip


def an_object(request: HttpRequest) -> object:
    return object()


def test_cache_status_of_a_decorated_view_and_after_others() -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(
            request.COOKIES.get('ä"\\\n', "x"), headers={"Cache-Status": "Inner; hit"}
        )

    with by_setting({}, headers=True):
        first, second = (view(RequestFactory().get("/")) for _ in range(2))
        odd = RequestFactory().get("/")
        odd.COOKIES['ä"\\\n'] = "1"
        third = view(odd)
    assert first["Cache-Status"] == "Inner; hit, django-querybudget; fwd=miss; stored; ttl=60"
    assert second["Cache-Status"].startswith("Inner; hit, django-querybudget; hit")
    assert third["Cache-Status"] == (
        'Inner; hit, django-querybudget; fwd=miss; detail="the view read cookie:?\\"\\\\?"'
    )


@pytest.mark.parametrize("headers", [None, False, f"{__name__}.nobody", f"{__name__}.fails"])
def test_others_see_nothing_and_their_responses_are_as_before(headers: Any) -> None:
    for middleware in ([*DJANGOS, OURS], DJANGOS):
        caches["default"].clear()
        with by_setting(
            {"*": {"timeout": 60, "vary_on": []}}, middleware=middleware, headers=headers
        ):
            responses = [get("/jobs/list/") for _ in range(2)]
        for response in responses:
            assert {*dict(response.items())} - {"ETag"} == {"Content-Type"}


def nobody(request: Any) -> bool:
    return bool(request.user.is_authenticated and request.session.get("x"))


def fails(request: Any) -> bool:
    raise RuntimeError("of the project")


def test_reasons_are_logged_once_for_each_view(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "django_querybudget")
    with by_setting({"*": {"vary_on": [f"{__name__}.an_object"]}}):
        for path in ("/user/", "/user/", "/jobs/list/"):
            get(path)
    told = [each.message for each in caplog.records if "was not cached" in each.message]
    assert len(told) == 2
    assert told[0].startswith("The answer of user was not cached: vary_on: an_object()")


# Bad input: never an error page of ours


def test_a_view_that_returns_nothing_is_djangos_to_tell() -> None:
    for views in ({}, {"*": 60}):
        with by_setting(views), pytest.raises(ValueError, match="didn't return an HttpResponse"):
            get("/nothing/")

    @cached_view(60)
    def view(request: HttpRequest) -> Any:
        return None

    @cached_view(60)
    def text(request: HttpRequest) -> Any:
        return "text"

    assert view(RequestFactory().get("/")) is None
    assert text(RequestFactory().get("/")) == "text"
    assert "no HttpResponse" in reasons()


def unsaved_user(get_response: Any) -> Any:
    def call(request: Any) -> Any:
        request.user = CustomUser(username="unsaved")
        return get_response(request)

    return call


def user_that_fails(get_response: Any) -> Any:
    class Request:
        @property
        def user(self) -> Any:
            raise RuntimeError("no user to be had")

    def call(request: Any) -> Any:
        request.__class__ = type("Failing", (Request, type(request)), {})
        return get_response(request)

    return call


def with_a_set_in_session(get_response: Any) -> Any:
    def call(request: Any) -> Any:
        request.session["odd"] = object()
        request.session.modified = False
        return get_response(request)

    return call


@pytest.mark.parametrize(
    ("middleware", "options", "reason"),
    [
        ("unsaved_user", {}, "a user without a primary key"),
        ("user_that_fails", {}, "RuntimeError while its key was made"),
        ("with_a_set_in_session", {"vary_on": ["session"]}, "session: "),
        ("", {"vary_on": [f"{__name__}.fails"]}, "vary_on: fails() raised RuntimeError"),
        ("", {"vary_on": [f"{__name__}.an_object"]}, "vary_on: an_object() returned"),
    ],
)
def test_what_cannot_be_in_a_key_is_a_bypass(
    middleware: str, options: dict[str, Any], reason: str
) -> None:
    own = [f"{__name__}.{middleware}"] if middleware else []
    with by_setting({"*": {"timeout": 60, **options}}, middleware=[*DJANGOS, *own, OURS]):
        for _ in range(2):
            assert get("/jobs/list/").content == b"one,two"
    assert len(runs) == 2
    assert reason in reasons()


def test_an_async_callable_in_vary_on_is_refused() -> None:
    async def tenant(request: HttpRequest) -> str:
        return "x"

    with pytest.raises(TypeError, match=r"vary_on: .*tenant\(\) is async"):
        cached_view(60, vary_on=(tenant,))


BAD = [
    (-1, "timeout must be 0 seconds or more"),
    ("60", "timeout must be a number"),
    (True, "timeout must be a number"),
    (None, 'write {"timeout": None} for no limit'),
    ({"timeout": -1}, "timeout must be 0 seconds or more"),
    ({"vary_on": "user"}, "vary_on must be a list"),
    ({"vary_on": ["usr"]}, "vary_on accepts"),
    ({"vary_on": None}, "vary_on must be a list"),
    ({"vary_on": [None]}, "vary_on accepts"),
    ({"vary_on": [["user"]]}, "vary_on accepts"),
    ({"vary_on": ["no.such_module"]}, "No module named 'no'"),
    ({"tags": "x"}, "tags must be a list"),
    ({"cache": "nowhere"}, "cache 'nowhere' is not in CACHES"),
    ({"vary": []}, "it has no vary"),
]


@pytest.mark.parametrize(("value", "message"), BAD)
def test_a_wrong_value_is_an_error_of_check_and_leaves_the_view_uncached(
    value: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with by_setting({"jobs:list": value, "jobs:other": 60}):
        (found,) = told("E060")
        assert message in found.msg
        assert found.msg.startswith('QUERYBUDGET["CACHE"]["VIEWS"][\'jobs:list\'] is ')
        for path in ("/jobs/list/", "/jobs/other/"):
            for _ in range(2):
                assert get(path).content == b"one,two"
    assert runs == ["jobs:list"] * 2 + ["jobs:other"]
    assert sum("The view is not cached" in each.message for each in caplog.records) == 1


def told(code: str) -> list[Any]:
    found = checks.run_checks(tags=["querybudget"])
    return [each for each in found if each.id == f"querybudget.{code}"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jobs:lst", "matches no view"),
        ("/nowhere/", "matches no view"),
        ("shop:*", "matches no view"),
        ("POST jobs:list", "answers to POST are not cached"),
    ],
)
def test_a_name_without_a_view_is_a_warning(name: str, text: str) -> None:
    with by_setting({name: 60, "jobs:*": 60, "GET user": 60, "/route/*": 60}):
        (found,) = told("W060")
        assert repr(name) in found.msg
        assert text in found.msg
    if name == "jobs:lst":
        assert "'jobs:list'" in found.hint


def test_without_the_middleware_the_setting_is_a_warning() -> None:
    with by_setting({"jobs:list": 60}, middleware=DJANGOS):
        assert len(told("W061")) == 1
    with by_setting({}, middleware=DJANGOS):
        assert told("W061") == []
    with by_setting({"jobs:list": 60}):
        assert told("W061") == told("E061") == []


@pytest.mark.parametrize(
    ("middleware", "named"),
    [
        ([OURS, *DJANGOS], DJANGOS),
        ([DJANGOS[0], OURS, DJANGOS[1]], DJANGOS[1:]),
        ([*DJANGOS, OURS, STAFF], [STAFF]),
        ([*DJANGOS, OURS, *AROUND.values()], []),
        ([*DJANGOS, OURS, "django.contrib.messages.middleware.MessageMiddleware"], []),
        ([*DJANGOS, STAFF, f"{__name__}.Extended"], []),
        ([f"{__name__}.Extended", *DJANGOS], DJANGOS),
        ([*DJANGOS, OURS, "django.contrib.auth.middleware.LoginRequiredMiddleware"],
         ["django.contrib.auth.middleware.LoginRequiredMiddleware"]),
    ],
)  # fmt: skip
def test_the_wrong_place_is_an_error(middleware: list[str], named: list[str]) -> None:
    with by_setting({"jobs:list": 60}, middleware=middleware):
        found = told("E061")
    assert bool(found) is bool(named)
    for each in found:
        assert f"stands above {', '.join(named)}: " in each.msg


class Extended(CachedViewMiddleware):
    """A project's own."""


# Which connections


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_connections_that_a_view_does_not_read_are_not_in_its_key() -> None:
    get("/jobs/list/")
    get("/of_others/?alias=other")  # this thread has one to "other" from now on
    for _ in range(2):
        get("/jobs/list/")
        get("/of_others/?alias=other")
        connections["other"].close()
    assert runs == ["jobs:list", "of_others"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_one_that_it_reads_is_from_then_on() -> None:
    def ask() -> bytes:
        return bytes(get("/of_others/?alias=other").content)

    Industry.objects.using("other").create(name="one")
    own = connections["other"].__dict__
    for schema in (None, "a", "b", None, "a"):
        own.update({} if schema is None else {"schema_name": schema})  # as tenants' backends do
        assert ask() == ask() == b"1"
        own.pop("schema_name", None)
    # Once for each session: the first request had it in its key before it was stored.
    assert len(runs) == 3


def test_a_thread_without_a_connection_asks_under_the_same_key() -> None:
    get("/jobs/list/")
    opened: list[bool] = []

    def ask() -> None:
        get("/jobs/list/")
        opened.append(connections["default"].connection is not None)
        connections.close_all()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert (runs, opened) == (["jobs:list"], [False])


def test_anonymous_visitors_share_what_asks_only_whether_they_are() -> None:
    with by_setting({"user": {"timeout": 60, "vary_on": []}}):
        for _ in range(2):
            assert get("/user/").content == str(AnonymousUser()).encode()
        client = Client()
        client.force_login(CustomUser.objects.create_user(username="ann", email="a@x"))
        for _ in range(2):
            assert get("/user/", client).content == b"ann"
        assert get("/user/").content == str(AnonymousUser()).encode()
    assert len(runs) == 3
