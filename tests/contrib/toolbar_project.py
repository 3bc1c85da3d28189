"""A project with django-debug-toolbar and our panel: what its pages and its store have, as JSON.

A program of its own, since the toolbar replaces methods of connections for the whole process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import django
import httpx
from django.conf import settings

OURS = "django_querybudget.contrib.debug_toolbar.QueryBudgetPanel"
ITS = ("history.HistoryPanel", "sql.SQLPanel", "templates.TemplatesPanel", "timer.TimerPanel")
CONFIG = {
    "IS_RUNNING_TESTS": False,
    "SHOW_TOOLBAR_CALLBACK": f"{__name__}.always",
    # Its queries are on the same database then, within the request.
    "TOOLBAR_STORE_CLASS": "debug_toolbar.store.DatabaseStore",
}
IN_MEMORY = {**CONFIG, "TOOLBAR_STORE_CLASS": "debug_toolbar.store.MemoryStore"}
EVIL = "<script>alert(1)</script>"


def always(request: Any) -> bool:
    return True


folder = tempfile.mkdtemp()
settings.configure(
    DEBUG=True,
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.staticfiles",
        "debug_toolbar",
        "django_querybudget",
    ],
    STATIC_URL="/static/",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}},
    DEBUG_TOOLBAR_PANELS=[*(f"debug_toolbar.panels.{each}" for each in ITS), OURS],
    DEBUG_TOOLBAR_CONFIG=CONFIG,
    QUERYBUDGET={"BUDGETS": {"loop": 3}},
)
django.setup()

from asgiref.sync import sync_to_async  # noqa: E402  # settings first
from debug_toolbar.toolbar import debug_toolbar_urls  # noqa: E402
from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402

from django_querybudget.contrib import debug_toolbar as contrib  # noqa: E402


def page() -> HttpResponse:
    return HttpResponse("<html><body>here</body></html>")


def loop(request: HttpRequest) -> HttpResponse:
    for user in User.objects.all():
        list(user.groups.all())
    return page()


def evil(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT %s AS "{EVIL}"', ["s3cret<b>"])
    return page()


async def several(request: HttpRequest, times: int) -> HttpResponse:
    for number in range(times):
        await User.objects.filter(pk=number).acount()
        await asyncio.sleep(0.002)
    return page()


async def threads(request: HttpRequest) -> HttpResponse:
    ask = sync_to_async(Group.objects.count, thread_sensitive=False)
    await asyncio.gather(ask(), ask(), User.objects.acount())
    return page()


urlpatterns = [
    path("threads/", threads),
    path("loop/", loop, name="loop"),
    path("evil/", evil, name=EVIL),
    path("several/<int:times>/", several, name="several"),
    *debug_toolbar_urls(),
]


def stored(request_id: str) -> dict[str, Any]:
    from debug_toolbar.store import get_store

    store = get_store()
    return {each: store.panel(request_id, each) for each in ("SQLPanel", "QueryBudgetPanel")}


def seen(response: Any) -> dict[str, Any]:
    """Return the page with the toolbar in it, what is stored, and our panel as it is fetched."""
    request_id = response.headers["djdt-request-id"]
    found = stored(request_id)
    fetched = Client().get(
        "/__debug__/render_panel/", {"request_id": request_id, "panel_id": "QueryBudgetPanel"}
    )
    return {
        "html": getattr(response, "text", ""),
        "status": response.status_code,
        "its": len(found["SQLPanel"]["queries"]),
        "ours": found["QueryBudgetPanel"],
        "fetched": fetched.json()["content"],
    }


async def at_the_same_time(paths: list[str]) -> list[Any]:
    transport = httpx.ASGITransport(get_asgi_application())
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        return await asyncio.gather(*map(client.get, paths))


def answers() -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    for number in range(4):
        user = User.objects.create(username=str(number))
        user.groups.add(Group.objects.create(name=str(number)))
    told: dict[str, Any] = {}
    told["loop"] = seen(Client().get("/loop/"))
    told["evil"] = seen(Client().get("/evil/"))
    with override_settings(QUERYBUDGET={"SHOW_PARAMETERS": True}):
        told["parameters"] = seen(Client().get("/evil/"))
    with mock.patch.object(contrib, "_told", side_effect=ZeroDivisionError):
        told["broken"] = seen(Client().get("/loop/"))
    told["missing"] = seen(Client().get("/nothing/"))
    with override_settings(DEBUG_TOOLBAR_CONFIG={**CONFIG, "RENDER_PANELS": True}):
        told["inline"] = {"html": Client().get("/loop/").content.decode()}
    counts = {f"/several/{number}/": number for number in range(6)} | {"/threads/": 3}
    paths = 3 * list(counts)
    with override_settings(DEBUG_TOOLBAR_CONFIG=IN_MEMORY):  # the other cannot be awaited
        told["async"] = [
            (path, counts[path], panels["QueryBudgetPanel"]["count"])
            for path, each in zip(paths, asyncio.run(at_the_same_time(paths)), strict=True)
            for panels in [stored(each.headers["djdt-request-id"])]
        ]
    connections.close_all()
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answers()))
