"""Nobody is ever sent what was made for another: the corpus, by decorator and by setting.

Each under Django's own WSGI and ASGI handlers, and once over a server of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rest_framework
from django.conf import settings
from django.core.cache import caches
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats
from django_querybudget.cache.reading import leases
from jobs.models import Industry

from . import leaks, visitors
from .leaks import CASES
from .urls import runs
from .urls_by_setting import VIEWS

HERE = "tests.cache.views"

pytestmark = pytest.mark.django_db(transaction=True)

APPLICATIONS: dict[str, dict[str, Any]] = {
    "decorator": {"ROOT_URLCONF": f"{HERE}.urls", "QUERYBUDGET": {"CACHE": {}}},
    "setting": {
        "ROOT_URLCONF": f"{HERE}.urls_by_setting", "QUERYBUDGET": {"CACHE": {"VIEWS": VIEWS}},
    },
}  # fmt: skip

ABOVE = (
    "sets_tenant", "sets_zone", "acts_as", "marks", "keeps_user", "overrides", "picks_database",
)  # fmt: skip
ON_TWO = pytest.mark.django_db(transaction=True, databases=["default", "other"])

TEMPLATES = Path(rest_framework.__file__).parent / "templates"


def middleware() -> list[str]:
    return [
        *settings.MIDDLEWARE,
        "django.middleware.locale.LocaleMiddleware",
        *(f"{HERE}.middleware.{each}" for each in ABOVE),
        f"{HERE}.leaks.nonce_middleware",
        "django_querybudget.middleware.CachedViewMiddleware",
    ]


def templates() -> dict[str, Any]:
    first = settings.TEMPLATES[0]
    library = "rest_framework.templatetags.rest_framework"
    options = {**first["OPTIONS"], "libraries": {"rest_framework": library}}
    return {**first, "DIRS": [*first["DIRS"], TEMPLATES], "OPTIONS": options}


@pytest.fixture(autouse=True)
def stage() -> Iterator[None]:
    with override_settings(
        MIDDLEWARE=middleware(),
        DATABASE_ROUTERS=[f"{HERE}.middleware.ByThread"],
        TEMPLATES=[templates()],
        LANGUAGES=[("en", "English"), ("de", "Deutsch")],
        ALLOWED_HOSTS=["*"],
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # the others are slow
    ):
        yield


def made_anew() -> None:
    caches["default"].clear()
    CustomUser.objects.all().delete()
    Industry.objects.all().delete()
    for each in ("ann", "bob"):
        CustomUser.objects.create_user(
            username=each, email=f"{each}@x.org", password=f"{each}'s password"
        )
    Industry.objects.create(name="first")
    leases._unstored.clear()
    cache_stats(reset=True)
    runs.clear()


def run(case: str, application: str, way: visitors.Way) -> None:
    """Let everybody ask, forwards and backwards: each is asked again, and each comes after each."""
    with override_settings(**APPLICATIONS[application]):
        made_anew()
        asks = CASES[case](lambda: visitors.Visitor(way))
        if asks is None:
            return
        texts = {text for _, text in asks} - {"", "none", "[]"}
        for ask, expected in (*asks, *reversed(asks)):
            answer = ask()
            assert expected in answer, (application, case)
            assert answer not in texts - {expected}, (application, case)
        reasons = leaks.NOT_KEPT if application == "decorator" else leaks.BY_SETTING
        stats = cache_stats()
        told = " ".join([*stats.not_stored, *stats.bypasses])
        if (reason := reasons.get(case)) is None:
            assert len(runs) == len(asks), (application, case, told)
        else:
            assert reason in told, (application, case)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(each, marks=[ON_TWO] if each in leaks.ON_TWO_DATABASES else [])
        for each in CASES
    ],
)
def test_nobody_is_sent_what_was_made_for_another(case: str) -> None:
    ways = visitors.by_wsgi(WSGIHandler()), visitors.by_asgi(ASGIHandler())
    for application in APPLICATIONS:
        for way in ways:
            run(case, application, way)


SERVERS: list[Callable[[], Any]] = [visitors.wsgi_server, visitors.asgi_server]


@pytest.mark.once
@ON_TWO
@pytest.mark.parametrize("server", SERVERS)
def test_nor_over_a_socket(server: Callable[[], Any]) -> None:
    """Each case over one server by decorator, and by setting over the other."""
    with server() as way:
        for number, case in enumerate(CASES, start=SERVERS.index(server)):
            run(case, [*APPLICATIONS][number % 2], way)


@pytest.mark.slow
@ON_TWO
@pytest.mark.parametrize("server", SERVERS)
def test_nor_over_a_socket_of_either_server(server: Callable[[], Any]) -> None:
    with server() as way:
        for application in APPLICATIONS:
            for case in CASES:
                run(case, application, way)


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(CASES) >= 80
