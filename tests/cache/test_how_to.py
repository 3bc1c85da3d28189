"""The examples of docs/how-to/caching.rst, run word for word."""

from __future__ import annotations

import re
import sys
import textwrap
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.cache import caches
from django.core.checks import run_checks
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats
from jobs.models import Industry, Job

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "caching.rst"
_BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:(?: {3}.*)?\n)+)", re.MULTILINE)


def blocks(language: str) -> list[str]:
    """Return the page's examples in one language, as they stand there."""
    text = PAGE.read_text(encoding="utf-8")
    return [
        textwrap.dedent(match[2]).strip() + "\n"
        for match in _BLOCK.finditer(text)
        if match[1] == language
    ]


SETTINGS = [
    block for block in blocks("python") if re.search(r"^(CACHES|QUERYBUDGET) =", block, re.M)
]
CODE = [block for block in blocks("python") if block not in SETTINGS]


LOGGED_IN: dict[int, dict[str, str]] = {}


@pytest.fixture
def user() -> CustomUser:
    caches["default"].clear()
    LOGGED_IN.clear()
    user = CustomUser.objects.create_user("ann", "ann@x", "secret")
    other = CustomUser.objects.create_user("bob", "bob@x", "secret")
    industry = Industry.objects.create(name="i")
    for title, client, status in (("a", user, "open"), ("b", user, "done"), ("c", other, "open")):
        Job.objects.create(client=client, industry=industry, title=title, status=status, budget=1)
    return user


def request_of(user: CustomUser) -> HttpRequest:
    """Return a request of one who has logged in, as the middleware leaves it."""
    request = RequestFactory().get("/", headers={"X-Tenant": "bob"})
    request.COOKIES = _cookies(user)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
    assert isinstance(request.user, SimpleLazyObject)
    return request


def _cookies(user: CustomUser) -> dict[str, str]:
    if user.pk not in LOGGED_IN:  # to log in writes the user's row
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        LOGGED_IN[user.pk] = {name: morsel.value for name, morsel in client.cookies.items()}
    return LOGGED_IN[user.pk]


def titles(queryset: Any) -> list[str]:
    return sorted(each.title for each in queryset)


def test_every_example_is_run_here() -> None:
    assert len(SETTINGS) + len(CODE) == PAGE.read_text(encoding="utf-8").count("block:: python")
    assert SETTINGS
    assert CODE


@pytest.mark.parametrize("again", range(2))
def test_the_code_runs_from_top_to_bottom_again_and_again(user: CustomUser, again: int) -> None:
    del again
    for _ in range(3):  # three requests of one process
        around = {
            "Job": Job,
            "user": CustomUser.objects.get(pk=user.pk),
            "job": Job.objects.get(title="a"),
            "request": request_of(user),
            "copy_into_the_table": list,
        }
        for block in CODE:
            exec(compile(block, str(PAGE), "exec"), around)  # noqa: S102  # our own page


def test_what_the_examples_give_is_right_before_and_after_a_write(user: CustomUser) -> None:
    around: dict[str, Any] = {
        "Job": Job, "user": user, "job": Job.objects.get(title="a"), "request": request_of(user),
        "copy_into_the_table": list,
    }  # fmt: skip
    for block in CODE:
        exec(compile(block, str(PAGE), "exec"), around)  # noqa: S102  # our own page
    reads: dict[str, tuple[Any, Any, Any]] = {
        "plain": (lambda: titles(around["jobs"].all()), ["a", "c"], ["a", "b", "c"]),
        "decorated": (
            lambda: titles(around["open_jobs_of"](request_of(user).user)), ["a"], ["a", "b"]
        ),
        "with a status": (
            lambda: titles(around["open_jobs_of"](request_of(user).user, status="done")), ["b"], []
        ),
        "of a tenant": (
            lambda: titles(around["jobs_of_tenant"]("ann")), ["a", "b"], ["a", "b"]
        ),
    }  # fmt: skip
    for name, (read, before, _) in reads.items():
        cache_stats(reset=True)
        assert [read() for _ in range(4)] == [before] * 4, name
        assert cache_stats().hits, name
    Job.objects.filter(title="b").update(status="open")
    for name, (read, _, after) in reads.items():
        assert [read() for _ in range(3)] == [after] * 3, name


def test_a_hit_of_the_decorated_example_asks_the_database_for_the_user_alone(
    user: CustomUser,
) -> None:
    around: dict[str, Any] = {"Job": Job, "request": request_of(user)}
    source = next(block for block in CODE if "def open_jobs_of" in block)
    function = f"from django_querybudget.cache import cached_queryset\n{source}"
    exec(compile(function, str(PAGE), "exec"), around)  # noqa: S102  # our own page
    for _ in range(3):
        titles(around["open_jobs_of"](request_of(user).user))
    request = request_of(user)
    with CaptureQueriesContext(connection) as queries:
        assert titles(around["open_jobs_of"](request.user)) == ["a"]
    assert [each["sql"] for each in queries.captured_queries if "jobs_job" in each["sql"]] == []


@pytest.mark.parametrize("number", range(len(SETTINGS)))
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_the_settings_are_accepted(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the page takes for given: a tenant, a module of the project, a second alias."""
    names: dict[str, Any] = {
        "__name__": "project.tenants",
        "connection": connections["postgres"],
        "tenant": CustomUser(pk=1),
        "get_current_schema": lambda: SimpleNamespace(schema_name="one"),
    }
    exec(compile(SETTINGS[number], str(PAGE), "exec"), names)  # noqa: S102  # our own page
    for module in ("project", "project.tenants"):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
    vars(sys.modules["project.tenants"]).update(names)
    aliases = {**settings.DATABASES, "default_direct": settings.DATABASES["default"]}
    monkeypatch.setattr(settings, "DATABASES", aliases)
    given = {name: value for name, value in names.items() if name.isupper()}
    with override_settings(**given):
        found = run_checks(tags=["querybudget"])
    assert [each for each in found if (each.id or "").startswith("querybudget.E")] == []


def test_the_extra_that_the_page_installs_is_there() -> None:
    (line,) = blocks("shell")
    (extra,) = re.findall(r"\[(\w+)\]", line)
    assert extra in (metadata("django-querybudget").get_all("Provides-Extra") or [])
