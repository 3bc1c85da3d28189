"""The corpus: how one visitor could be sent what was made for another.

A case is given a way to make visitors. It returns what each asks and must be told, in an order in
which each answer was there before; or it asks by itself.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth.models import Permission
from django.http import HttpResponse

from accounts.models import CustomUser
from jobs.models import Industry

from .urls import runs
from .visitors import Visitor

New = Callable[[], Visitor]
Ask = Callable[[], str]
Asks = list[tuple[Ask, str]]
Case = Callable[[New], Asks | None]

CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def note(function: Case) -> Case:
        CASES[name] = function
        return function

    return note


def ann_and_bob(path: str) -> Case:
    def asks(new: New) -> Asks:
        ann, bob, nobody = new().log_in("ann"), new().log_in("bob"), new()
        return [
            (partial(ann.get, path), "ann"),
            (partial(bob.get, path), "bob"),
            (partial(nobody.get, path), "nobody"),
        ]

    return asks


def with_headers(path: str, *pairs: tuple[dict[str, str], str]) -> Case:
    return lambda new: [(partial(new().get, path, **each), text) for each, text in pairs]


def with_cookies(path: str, *pairs: tuple[dict[str, str], str]) -> Case:
    def asks(new: New) -> Asks:
        found: Asks = []
        for cookies, text in pairs:
            visitor = new()
            visitor.cookies.update(cookies)
            found.append((partial(visitor.get, path), text))
        return found

    return asks


def _signed(value: str) -> str:
    response = HttpResponse()
    response.set_signed_cookie("colour", value)
    return response.cookies["colour"].value


def sessions(path: str) -> Case:
    def asks(new: New) -> Asks:
        one, two = (new().put_into_session(cart=each) for each in ("pears", "plums"))
        return [
            (partial(new().get, path), "empty"),
            (partial(one.get, path), "pears"),
            (partial(two.get, path), "plums"),
        ]

    return asks


def databases(path: str) -> Case:
    """Two tenants with a database each, which a router picks by what a middleware keeps."""

    def asks(new: New) -> Asks:
        theirs = Industry.objects.using("other")
        theirs.all().delete()
        theirs.create(name="theirs")
        both = ({}, "['first']"), ({"X-Database": "other"}, "['theirs']")
        return [(partial(new().get, path, **each), text) for each, text in both]

    return asks


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{name}'s password".encode()).decode()


TEAM = ({}, "none"), ({"X-Team": "red"}, "red"), ({"X-Team": "blue"}, "blue")
MARK = ({}, "none"), ({"X-Mark": "red"}, "red"), ({"X-Mark": "blue"}, "blue")
COLOUR = ({}, "none"), ({"colour": "red"}, "red"), ({"colour": "blue"}, "blue")

ON_TWO_DATABASES: dict[str, Case] = {
    "a database that a router picks": databases("/routed/"),
    "a database that a router picks, async": databases("/routed_in_async/"),
    "a database that a router picks, of a part": databases("/routed_in_part/"),
}

CASES |= {
    **ON_TWO_DATABASES,
    "two users": ann_and_bob("/name/"),
    "two users, vary_on empty": ann_and_bob("/name_for_all/"),
    "a method": ann_and_bob("/by_method/"),
    "a class": ann_and_bob("/by_class/"),
    "a mixin": ann_and_bob("/by_mixin/"),
    "async": ann_and_bob("/name_in_async/"),
    "async, vary_on empty": ann_and_bob("/name_for_all_in_async/"),
    "a session's data": sessions("/session/"),
    "a session's data, vary_on empty": sessions("/session_for_all/"),
    "a session's data, in the key": sessions("/by_session/"),
    "a cookie": with_cookies("/cookie/", *COLOUR),
    "a cookie, in the key": with_cookies("/by_cookie/", *COLOUR),
    "all cookies": with_cookies(
        "/all_cookies/", ({}, "[]"), ({"a": "1"}, "[('a', '1')]"), ({"b": "1"}, "[('b', '1')]")
    ),
    "a signed cookie": with_cookies(
        "/signed_cookie/", *(({"colour": _signed(colour)}, colour) for colour in ("red", "blue"))
    ),
    "the cookie header": with_cookies("/cookie_header/", ({}, ""), ({"a": "1"}, "a=1")),
    "a header": with_headers("/header/", *TEAM),
    "a header by META": with_headers("/meta/", *TEAM),
    "a header by environ": with_headers("/environ/", *TEAM),
    "a header, in the key": with_headers("/by_header/", *TEAM),
    "a header, in Vary": with_headers("/varied/", *TEAM),
    "Vary on everything": with_headers("/varied_on_all/", *TEAM),
    "a header that a decorator hands on": with_headers("/handed/", *TEAM),
    "a header that setup() puts on the view": with_headers("/set_up_by_method/", *TEAM),
    "a header that setup() puts on the view, its class decorated": with_headers(
        "/set_up_by_class/", *TEAM
    ),
    "a header that a permission of DRF puts on the view": with_headers("/permitted/", *TEAM),
    "a header that a permission of DRF puts on the request": with_headers(
        "/permitted/", *(({"X-Where": "request", **each}, text) for each, text in TEAM)
    ),
    "a header in a copy of META": with_headers("/merged_meta/", *TEAM),
    "headers that are printed": with_headers("/printed_headers/", *TEAM[1:]),
    "a header after a part that is cached by itself": with_headers("/after_a_part/", *TEAM),
    "a cookie of a part that is cached by itself": with_cookies("/with_a_part/", *COLOUR),
    "the cookie of a CSRF token": with_cookies(
        "/csrf_cookie/", ({}, "none"), ({"csrftoken": "a" * 32}, "a" * 32),
        ({"csrftoken": "b" * 32}, "b" * 32),
    ),
    "what a middleware set, privately": with_headers(
        "/private_tenant/", ({}, "public"), ({"X-Tenant": "one"}, "one"),
        ({"X-Tenant": "two"}, "two"),
    ),
    "a language that is not the active one": with_headers(
        "/language_code/", ({"X-Active": "en", "Accept-Language": "en"}, "en"),
        ({"X-Active": "en", "Accept-Language": "de"}, "de"),
    ),
    "a parameter that a middleware set": with_headers(
        "/query/?a=1", ({}, "[('a', '1')]"), ({"X-Page": "2"}, "[('a', '1'), ('page', '2')]"),
    ),
    "the scheme's header": with_headers(
        "/forwarded/", ({}, "none"), ({"X-Forwarded-Proto": "http"}, "http"),
        ({"X-Forwarded-Proto": "HTTP"}, "HTTP"),
    ),
    "a user whom a middleware keeps, vary_on empty": lambda new: [
        (partial(new().log_in(who).get, "/kept_user/", **{"X-Look": look}), who)
        for who in ("ann", "bob") for look in ("", "1")
    ],
    "Accept": with_headers(
        "/accepts/", ({"Accept": "application/json"}, "json"), ({"Accept": "text/html"}, "other")
    ),
    "Authorization": with_headers(
        "/authorization/", ({}, "none"), ({"Authorization": "Token a"}, "Token a"),
        ({"Authorization": "Token b"}, "Token b"),
    ),
    "host": with_headers(
        "/host/", ({"Host": "a.example"}, "http://a.example/x/"),
        ({"Host": "b.example"}, "http://b.example/x/"),
    ),
    "site": with_headers(
        "/site/", ({"Host": "a.example"}, "a.example"), ({"Host": "b.example"}, "b.example"),
    ),
    "HTTP and HTTPS": with_headers(
        "/host/", ({}, "http://testserver/x/"),
        ({"X-Forwarded-Proto": "https"}, "https://testserver/x/"),
    ),
    "language": with_headers(
        "/language/", ({"Accept-Language": "en"}, "en"), ({"Accept-Language": "de"}, "de")
    ),
    "a view that sets a language": with_headers(
        "/language_of_its_own/", ({"Accept-Language": "en"}, "en then de"),
        ({"Accept-Language": "de"}, "de then de"),
    ),
    "time zone": with_headers(
        "/zone/", ({}, "UTC"), ({"X-Zone": "Europe/Berlin"}, "Europe/Berlin")
    ),
    "content type": with_headers(
        "/content_type/", ({"Content-Type": "text/plain"}, "text/plain "),
        ({"Content-Type": "text/csv"}, "text/csv "),
    ),
    "what a middleware set": with_headers(
        "/tenant/", ({}, "public"), ({"X-Tenant": "one"}, "one"), ({"X-Tenant": "two"}, "two")
    ),
    "what a middleware set, in the key": with_headers(
        "/by_tenant/", ({}, "ours"), ({"X-Tenant": "one"}, "ours")
    ),
    "a visitor whom a middleware marks": with_headers("/marked/", *MARK),
    "a visitor whom a middleware marks, vary_on empty": with_headers("/marked_for_all/", *MARK),
    "impersonation": lambda new: [
        (partial(new().log_in(who).get, "/impersonated/", **{"X-Act-As": "bob"}), who)
        for who in ("ann", "bob")
    ],
    "another path": lambda new: [
        (partial(new().get, f"/industry/{each.pk}/"), each.name)
        for each in Industry.objects.bulk_create([Industry(name="x"), Industry(name="y")])
    ],
    "another query": lambda new: [
        (partial(new().get, "/query/?a=1"), "[('a', '1')]"),
        (partial(new().get, "/query/?a=2"), "[('a', '2')]"),
    ],
    "basic authentication of DRF, vary_on empty": with_headers(
        "/whoami/", ({}, '{"user":"nobody","auth":"None"}'),
        ({"Authorization": basic("ann")}, '{"user":"ann","auth":"None"}'),
        ({"Authorization": basic("bob")}, '{"user":"bob","auth":"None"}'),
    ),
    "session authentication of DRF, vary_on empty": ann_and_bob("/whoami/"),
    "a function of DRF's, decorated below": ann_and_bob("/above_api_view/"),
    "a function of DRF's, decorated above": ann_and_bob("/below_api_view/"),
    "DRF's negotiation": with_headers(
        "/rest/", ({"Accept": "application/json"}, '[{"id":'), ({"Accept": "text/plain"}, "first"),
    ),
    "DRF's browsable API": lambda new: [
        (partial(new().log_in(who).get, "/browsed/", Accept="text/html"), who)
        for who in ("ann", "bob")
    ],
    "ninja's session authentication": lambda new: [
        (partial(new().log_in(who).get, "/ninja/user"), f'"{who}"') for who in ("ann", "bob")
    ] + [(partial(new().get, "/ninja/user"), '{"detail": "Unauthorized"}')],
    "ninja's token authentication": with_headers(
        "/ninja/token", ({"Authorization": "Bearer red"}, '"red"'),
        ({"Authorization": "Bearer blue"}, '"blue"'),
        ({}, '{"detail": "Unauthorized"}'),
    ),
    "ninja's parameters": lambda new: [
        (partial(new().get, "/ninja/industries?name=f"), '["first"]'),
        (partial(new().get, "/ninja/industries?name=g"), "[]"),
    ],
}  # fmt: skip


@case("after logout")
def _(new: New) -> None:
    visitor = new().log_in("ann")
    assert visitor.get("/name/") == visitor.get("/name/") == "ann"
    visitor.cookies.clear()
    assert visitor.get("/name/") == "nobody"


@case("after a password change and a new login")
def _(new: New) -> None:
    visitor = new().log_in("ann")
    assert visitor.get("/name/") == visitor.get("/name/") == "ann"
    ann = CustomUser.objects.get(username="ann")
    ann.set_password("new")
    ann.save()
    assert visitor.get("/name/") == "nobody"  # the session is not good any more
    assert visitor.log_in("ann").get("/name/") == "ann"


@case("deactivated")
def _(new: New) -> None:
    visitor = new().log_in("ann")
    assert visitor.get("/flags/") == "staff False active True"
    CustomUser.objects.filter(username="ann").update(is_active=False)
    assert visitor.get("/flags/") == "staff False active False"


@case("a staff flag given and taken away")
def _(new: New) -> None:
    visitor = new().log_in("ann")
    for flag in (False, True, False):
        CustomUser.objects.filter(username="ann").update(is_staff=flag)
        expected = f"staff {flag} active True"
        assert visitor.get("/flags/") == visitor.get("/flags/") == expected


@case("a permission given and taken away")
def _(new: New) -> None:
    visitor, ann = new().log_in("ann"), CustomUser.objects.get(username="ann")
    permission = Permission.objects.get(codename="delete_job")
    assert visitor.get("/permissions/") == visitor.get("/permissions/") == "False"
    ann.user_permissions.add(permission)
    assert visitor.get("/permissions/") == visitor.get("/permissions/") == "True"
    ann.user_permissions.remove(permission)
    assert visitor.get("/permissions/") == "False"


@case("a CSRF token")
def _(new: New) -> None:
    one, two = new(), new()
    tokens = set()
    for _ in range(2):
        one.get("/csrf_form/")
        tokens.add(one.cookies["csrftoken"])
    two.get("/csrf_form/")
    assert two.cookies["csrftoken"] not in tokens
    assert runs.count("csrf_form") == 3


@case("messages are shown to who they are for, and once")
def _(new: New) -> None:
    waiting, other = new(), new()
    assert other.get("/message/") == other.get("/message/") == "[]"
    for _ in range(2):  # not kept: it is added each time
        assert waiting.get("/adds_message/") == "added"
        assert waiting.get("/message/") == "['added']"
        assert other.get("/message/") == waiting.get("/message/") == "[]"


@case("a cookie that is set is set for each")
def _(new: New) -> None:
    for _ in range(2):
        visitor = new()
        visitor.get("/sets_cookie/")
        assert visitor.cookies["mine"] == "1"


@case("a session that is written is written for each")
def _(new: New) -> None:
    for _ in range(2):
        visitor = new()
        visitor.get("/session_write/")
        assert visitor.cookies["sessionid"]


@case("the client's address")
def _(new: New) -> None:
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        # Over a socket it is this machine's.
        assert new().ask("/address/", address=address).text in (address, "127.0.0.1")
    assert runs == ["address"] * 3


@case("a 304 is for who has that body")
def _(new: New) -> None:
    ann, bob = new().log_in("ann"), new().log_in("bob")
    ann.get("/name/"), bob.get("/name/")
    etag = ann.ask("/name/")["ETag"]
    assert ann.ask("/name/", headers={"If-None-Match": etag}).status == 304
    other = bob.ask("/name/", headers={"If-None-Match": etag})
    assert (other.status, other.text) == (200, "bob")


@case("HEAD first")
def _(new: New) -> None:
    for name in ("ann", "bob"):
        visitor = new().log_in(name)
        assert visitor.ask("/name/", method="HEAD").body == b""
        assert visitor.get("/name/") == visitor.get("/name/") == name
        assert visitor.ask("/name/", method="HEAD").body == b""


@case("a body is not in the key")
def _(new: New) -> None:
    visitor = new()
    assert visitor.get("/body/") == "none"
    for text in ("one", "two"):
        kind = {"Content-Type": "text/plain"}
        assert visitor.ask("/body/", headers=kind, body=text.encode()).text == text


@case("the key of a session")
def _(new: New) -> None:
    one, two = (new().put_into_session(cart=each) for each in ("pears", "plums"))
    assert new().get("/session_key/") == new().get("/session_key/") == "none"
    for _ in range(2):
        assert one.get("/session_key/") != two.get("/session_key/")
    assert runs == ["session_key"] * 5


@case("a body that is read by lines, and by DRF")
def _(new: New) -> None:
    visitor, kind = new(), {"Content-Type": "application/json"}
    for path in ("/lines/", "/data/"):
        visitor.get(path)
        for text in ("1", "2"):
            assert visitor.ask(path, headers=kind, body=text.encode()).text == text


@case("a method that a header overrides")
def _(new: New) -> None:
    visitor = new()
    for _ in range(2):
        sent = visitor.ask("/sent_method/", method="PUT", headers={"X-Method": "GET"})
        assert sent.text == "PUT"
        assert visitor.get("/sent_method/") == "GET"
    assert runs == ["sent_method"] * 3


@case("the port and the protocol, which are in no key")
def _(new: New) -> None:
    for path in ("/port/", "/protocol/"):
        assert new().get(path) == new().get(path)
    told = new().get("/protocol/") != "none"  # by ASGI it is not
    assert runs == ["port"] * 2 + ["protocol"] * (3 if told else 1)


@case("what a response carries for middleware")
def _(new: New) -> None:
    for _ in range(2):
        names = {name.lower() for name, _ in new().ask("/framed/").headers}
        assert "x-frame-options" not in names
    assert "x-frame-options" in {name.lower() for name, _ in new().ask("/name/").headers}
    for _ in range(2):
        new().get("/carries/")
    assert runs == ["framed", "name"] + ["carries"] * 2


@case("a nonce of a Content-Security-Policy")
def _(new: New) -> None:
    assert len({new().get("/nonce/") for _ in range(3)}) == 3


@case("what is not there is not kept")
def _(new: New) -> None:
    for _ in range(2):
        assert new().ask("/missing/").status == 404
    assert runs == ["missing"] * 2


@case("the user in a template's context, until it is shown")
def _(new: New) -> None:
    ann, bob = new().log_in("ann"), new().log_in("bob")
    assert ann.get("/with_user_in_context/") == bob.get("/with_user_in_context/") == "hello"
    assert runs == ["with_user_in_context"]
    for visitor, name in ((ann, "ann"), (bob, "bob")) * 2:
        assert visitor.get("/with_user_in_context/?shown=1") == f"hello{name}"


# Of all other cases that ask by a list, each answer is kept, and the view runs once for each.
_AUTHORIZATION = "the view read header:authorization"
NOT_KEPT: dict[str, str] = {
    "a header in a copy of META": "the view read",
    "headers that are printed": "the view read",
    "a header after a part that is cached by itself": "the view read header:x-team",
    "a cookie of a part that is cached by itself": "the view read cookie:colour",
    "the cookie of a CSRF token": "the view read META:CSRF_COOKIE",
    "what a middleware set, privately": "the view read request:_tenant",
    "the scheme's header": "the view read header:x-forwarded-proto",
    "a user whom a middleware keeps, vary_on empty": "the view read user",
    "two users, vary_on empty": "the view read session, user",
    "async, vary_on empty": "the view read user",
    "a session's data": "the view read session",
    "a session's data, vary_on empty": "the view read session",
    "a cookie": "the view read cookie:colour",
    "all cookies": "the view read all cookies",
    "a signed cookie": "the view read all cookies",
    "the cookie header": "the view read all cookies",
    "a header": "the view read header:x-team",
    "a header by META": "the view read header:x-team",
    "a header by environ": "the view read header:x-team",
    "Vary on everything": "Vary: *",
    "Accept": "the view read header:accept",
    "Authorization": _AUTHORIZATION,
    "what a middleware set": "the view read request:tenant",
    "a visitor whom a middleware marks, vary_on empty": "the view read user",
    "basic authentication of DRF, vary_on empty": "the user was looked up before the view",
    "session authentication of DRF, vary_on empty": "the user was looked up before the view",
    "DRF's browsable API": "a CSRF token was used",
    "ninja's session authentication": "status 401",
    "ninja's token authentication": _AUTHORIZATION,
}
BY_SETTING: dict[str, str] = {
    **NOT_KEPT,
    "a header that a decorator hands on": "the view read header:x-team",
    "a header that setup() puts on the view": "the view read header:x-team",
    "a header that setup() puts on the view, its class decorated": "the view read header:x-team",
    "a header that a permission of DRF puts on the view": "the view read header:x-team",
    "a header that a permission of DRF puts on the request": "the view read header:x-team",
    # There the view has its authentication in it.
    "basic authentication of DRF, vary_on empty": _AUTHORIZATION,
    "session authentication of DRF, vary_on empty": "the view read session, user",
}


def nonce_middleware(get_response: Any) -> Any:
    """Put a nonce on the request, as Django's own middleware does since 6.0."""

    class Nonce:
        def __init__(self) -> None:
            self.text = ""

        def __bool__(self) -> bool:
            return bool(self.text)

        def __str__(self) -> str:
            self.text = self.text or f"{id(self)} {len(runs)}"
            return self.text

    def call(request: Any) -> Any:
        request._csp_nonce = Nonce()
        return get_response(request)

    return call
