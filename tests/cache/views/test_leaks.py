"""Nobody is ever sent what was made for another: each case asks as one, then as the other."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.cache import caches
from django.test import Client, override_settings

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats
from jobs.models import Industry

from .urls import runs

HERE = "tests.cache.views"

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls(f"{HERE}.urls"),
]

Ask = Callable[[], str]


@pytest.fixture(autouse=True)
def stage() -> Iterator[None]:
    caches["default"].clear()
    for each in ("ann", "bob"):
        CustomUser.objects.create_user(
            username=each, email=f"{each}@x.org", password=f"{each}'s password"
        )
    Industry.objects.create(name="first")
    cache_stats(reset=True)
    runs.clear()
    middleware = [
        *settings.MIDDLEWARE,
        "django.middleware.locale.LocaleMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        *(f"{HERE}.middleware.{each}" for each in ("sets_tenant", "sets_zone", "acts_as")),
    ]
    installed = [*settings.INSTALLED_APPS]
    if "django.contrib.messages" not in installed:
        installed.append("django.contrib.messages")
    languages = [("en", "English"), ("de", "Deutsch")]
    middleware = list(dict.fromkeys(middleware))
    with override_settings(MIDDLEWARE=middleware, LANGUAGES=languages):
        yield


def visitor(name: str | None = None, **cookies: str) -> Client:
    client = Client()
    if name is not None:
        client.force_login(CustomUser.objects.get(username=name))
    for key, value in cookies.items():
        client.cookies[key] = value
    return client


def get(client: Client, path: str, **headers: str) -> str:
    response = client.get(path, headers=headers)
    content: bytes = (
        b"".join(response.streaming_content) if response.streaming else response.content
    )
    return content.decode()


def ann_and_bob(path: str) -> list[tuple[Ask, str]]:
    ann, bob, nobody = visitor("ann"), visitor("bob"), visitor()
    return [
        (lambda: get(ann, path), "ann"),
        (lambda: get(bob, path), "bob"),
        (lambda: get(nobody, path), "nobody"),
    ]


def with_headers(path: str, *pairs: tuple[dict[str, str], str]) -> list[tuple[Ask, str]]:
    client = visitor()
    return [(partial(get, client, path, **each), text) for each, text in pairs]


def with_cookies(path: str, *pairs: tuple[dict[str, str], str]) -> list[tuple[Ask, str]]:
    return [(partial(get, visitor(**each), path), text) for each, text in pairs]


def in_session(**values: Any) -> Client:
    client = visitor()
    if values:
        session = client.session
        session.update(values)
        session.save()
        client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def sessions(path: str) -> list[tuple[Ask, str]]:
    empty, one, two = in_session(), in_session(cart="pears"), in_session(cart="plums")
    return [
        (lambda: get(empty, path), "empty"),
        (lambda: get(one, path), "pears"),
        (lambda: get(two, path), "plums"),
    ]


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{name}'s password".encode()).decode()


TEAM = ({}, "none"), ({"X-Team": "red"}, "red"), ({"X-Team": "blue"}, "blue")
COLOUR = ({}, "none"), ({"colour": "red"}, "red"), ({"colour": "blue"}, "blue")

CASES: dict[str, Callable[[], list[tuple[Ask, str]]]] = {
    "two users": lambda: ann_and_bob("/name/"),
    "two users, vary_on empty": lambda: ann_and_bob("/name_for_all/"),
    "a method": lambda: ann_and_bob("/by_method/"),
    "a class": lambda: ann_and_bob("/by_class/"),
    "a mixin": lambda: ann_and_bob("/by_mixin/"),
    "async": lambda: ann_and_bob("/name_in_async/"),
    "async, vary_on empty": lambda: ann_and_bob("/name_for_all_in_async/"),
    "a session's data": lambda: sessions("/session/"),
    "a session's data, in the key": lambda: sessions("/by_session/"),
    "a cookie": lambda: with_cookies("/cookie/", *COLOUR),
    "a cookie, in the key": lambda: with_cookies("/by_cookie/", *COLOUR),
    "all cookies": lambda: with_cookies(
        "/all_cookies/", ({}, "[]"), ({"a": "1"}, "[('a', '1')]"), ({"b": "1"}, "[('b', '1')]")
    ),
    "the cookie header": lambda: with_cookies("/cookie_header/", ({}, ""), ({"a": "1"}, "a=1")),
    "a header": lambda: with_headers("/header/", *TEAM),
    "a header by META": lambda: with_headers("/meta/", *TEAM),
    "a header by environ": lambda: with_headers("/environ/", *TEAM),
    "a header, in the key": lambda: with_headers("/by_header/", *TEAM),
    "a header, in Vary": lambda: with_headers("/varied/", *TEAM),
    "Vary on everything": lambda: with_headers("/varied_on_all/", *TEAM),
    "Accept": lambda: with_headers(
        "/accepts/", ({"Accept": "application/json"}, "json"), ({"Accept": "text/html"}, "other")
    ),
    "Authorization": lambda: with_headers(
        "/authorization/", ({}, "none"), ({"Authorization": "Token a"}, "Token a"),
        ({"Authorization": "Token b"}, "Token b"),
    ),
    "host": lambda: with_headers(
        "/host/", ({"Host": "a.example"}, "http://a.example/x/"),
        ({"Host": "b.example"}, "http://b.example/x/"),
    ),
    "language": lambda: with_headers(
        "/language/", ({"Accept-Language": "en"}, "en"), ({"Accept-Language": "de"}, "de")
    ),
    "time zone": lambda: with_headers(
        "/zone/", ({}, "UTC"), ({"X-Zone": "Europe/Berlin"}, "Europe/Berlin")
    ),
    "what a middleware set": lambda: with_headers(
        "/tenant/", ({}, "public"), ({"X-Tenant": "one"}, "one"), ({"X-Tenant": "two"}, "two")
    ),
    "impersonation": lambda: [
        (partial(get, visitor(who), "/impersonated/", **{"X-Act-As": "bob"}), who)
        for who in ("ann", "bob")
    ],
    "another path": lambda: [
        (partial(get, visitor(), f"/industry/{each.pk}/"), each.name)
        for each in Industry.objects.bulk_create([Industry(name="x"), Industry(name="y")])
    ],
    "another query": lambda: [
        (lambda: get(visitor(), "/query/?a=1"), "[('a', '1')]"),
        (lambda: get(visitor(), "/query/?a=2"), "[('a', '2')]"),
    ],
    "basic authentication of DRF, vary_on empty": lambda: with_headers(
        "/whoami/", ({}, '{"user":"nobody","auth":"None"}'),
        ({"Authorization": basic("ann")}, '{"user":"ann","auth":"None"}'),
        ({"Authorization": basic("bob")}, '{"user":"bob","auth":"None"}'),
    ),
    "session authentication of DRF, vary_on empty": lambda: [
        (partial(get, visitor(who), "/whoami/"), f'"user":"{who or "nobody"}"')
        for who in ("ann", "bob", None)
    ],
    "DRF's negotiation": lambda: with_headers(
        "/rest/", ({"Accept": "application/json"}, '[{"id":'), ({"Accept": "text/plain"}, "first"),
    ),
}  # fmt: skip

# Of all other cases each answer is kept, and the view runs once for each.
NOT_KEPT = {
    "two users, vary_on empty": "the view read user",
    "async, vary_on empty": "the view read user",
    "a session's data": "the view read session",
    "a cookie": "the view read cookie:colour",
    "all cookies": "the view read all cookies",
    "the cookie header": "the view read all cookies",
    "a header": "the view read header:x-team",
    "a header by META": "the view read header:x-team",
    "a header by environ": "the view read header:x-team",
    "Vary on everything": "Vary: *",
    "Accept": "the view read header:accept",
    "Authorization": "the view read header:authorization",
    "what a middleware set": "the view read request:tenant",
    "basic authentication of DRF, vary_on empty": "the user was looked up before the view",
    "session authentication of DRF, vary_on empty": "the user was looked up before the view",
}


@override_settings(ALLOWED_HOSTS=["*"])
@pytest.mark.parametrize("case", CASES)
def test_nobody_is_sent_what_was_made_for_another(case: str) -> None:
    asks = CASES[case]()
    # Forwards and backwards, so that each comes after each.
    for ask, expected in (*asks, *asks, *reversed(asks), *asks):
        answer = ask()
        assert answer.startswith(expected) or expected in answer, (answer, expected)
        others = [text for _, text in asks if text != expected and text not in ("", "none", "[]")]
        assert not any(answer == other for other in others)
    reason = NOT_KEPT.get(case)
    if reason is None:
        assert len(runs) == len(asks)
    else:
        stats = cache_stats()
        assert reason in " ".join([*stats.not_stored, *stats.bypasses])


def test_http_and_https() -> None:
    client = visitor()
    for secure, scheme in ((False, "http"), (True, "https")) * 2:
        assert client.get("/host/", secure=secure).content.decode().startswith(f"{scheme}://")


def test_after_logout() -> None:
    client = visitor("ann")
    assert get(client, "/name/") == get(client, "/name/") == "ann"
    client.logout()
    assert get(client, "/name/") == "nobody"


def test_after_a_password_change_and_a_new_login() -> None:
    client = visitor("ann")
    assert get(client, "/name/") == get(client, "/name/") == "ann"
    ann = CustomUser.objects.get(username="ann")
    ann.set_password("new")
    ann.save()
    assert get(client, "/name/") == "nobody"  # the session is not good any more
    client.force_login(ann)
    assert get(client, "/name/") == "ann"


def test_deactivated() -> None:
    client = visitor("ann")
    assert get(client, "/flags/") == "staff False active True"
    CustomUser.objects.filter(username="ann").update(is_active=False)
    assert get(client, "/flags/") == "staff False active False"


def test_a_staff_flag_given_and_taken_away() -> None:
    client = visitor("ann")
    for flag in (False, True, False):
        CustomUser.objects.filter(username="ann").update(is_staff=flag)
        assert get(client, "/flags/") == get(client, "/flags/") == f"staff {flag} active True"


def test_a_permission_given_and_taken_away() -> None:
    client, ann = visitor("ann"), CustomUser.objects.get(username="ann")
    permission = Permission.objects.get(codename="delete_job")
    assert get(client, "/permissions/") == get(client, "/permissions/") == "False"
    ann.user_permissions.add(permission)
    assert get(client, "/permissions/") == get(client, "/permissions/") == "True"
    ann.user_permissions.remove(permission)
    assert get(client, "/permissions/") == "False"


def test_a_csrf_token() -> None:
    one, two = visitor(), visitor()
    tokens = {one.get("/csrf_form/").cookies["csrftoken"].value for _ in range(2)}
    other = two.get("/csrf_form/").cookies["csrftoken"].value
    assert other not in tokens
    assert runs.count("csrf_form") == 3


def test_messages_are_shown_to_who_they_are_for_and_once() -> None:
    waiting, other = visitor(), visitor()
    assert get(other, "/message/") == get(other, "/message/") == "[]"
    assert get(waiting, "/adds_message/") == "added"
    assert get(waiting, "/message/") == "['added']"
    assert get(other, "/message/") == get(waiting, "/message/") == "[]"
    assert get(waiting, "/adds_message/") == "added"  # not kept: it is added each time
    assert get(waiting, "/message/") == "['added']"


def test_a_cookie_that_is_set_is_set_for_each() -> None:
    for _ in range(2):
        assert visitor().get("/sets_cookie/").cookies["mine"].value == "1"


def test_a_session_that_is_written_is_written_for_each() -> None:
    for _ in range(2):
        client = visitor()
        get(client, "/session_write/")
        assert client.session["seen"] == 1


def test_the_clients_address() -> None:
    client = visitor()
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        assert client.get("/address/", REMOTE_ADDR=address).content.decode() == address


def test_a_304_is_for_who_has_that_body() -> None:
    ann, bob = visitor("ann"), visitor("bob")
    ann.get("/name/"), bob.get("/name/")
    etag = ann.get("/name/")["ETag"]
    assert ann.get("/name/", headers={"If-None-Match": etag}).status_code == 304
    other = bob.get("/name/", headers={"If-None-Match": etag})
    assert (other.status_code, other.content) == (200, b"bob")


def test_head_first() -> None:
    ann, bob = visitor("ann"), visitor("bob")
    assert ann.head("/name/").content == b""
    assert get(ann, "/name/") == "ann"
    assert bob.head("/name/").content == b""
    assert get(bob, "/name/") == "bob"


def test_a_body_is_not_in_the_key() -> None:
    client = visitor()
    assert get(client, "/body/") == "none"
    for text in ("one", "two"):
        response = client.generic("GET", "/body/", text, content_type="text/plain")
        assert response.content.decode() == text


def test_the_user_in_a_templates_context_is_not_read_until_it_is_shown() -> None:
    ann, bob = visitor("ann"), visitor("bob")
    assert get(ann, "/with_user_in_context/") == get(bob, "/with_user_in_context/") == "hello"
    assert runs == ["with_user_in_context"]
    for client, name in ((ann, "ann"), (bob, "bob")) * 2:
        assert get(client, "/with_user_in_context/?shown=1") == f"hello{name}"
