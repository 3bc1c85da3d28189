"""A project that has another tool beside us: what a request of it counted, as JSON.

Run: ``python tests/stacks/tool_beside.py TOOL above|below``; TOOL is a name of ``TOOLS``, or none.
It is a program of its own since a tool replaces methods of Django's for the whole process.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import django
from django.conf import settings

OURS = "django_querybudget.middleware.QueryBudgetMiddleware"


class Tool:
    """What a tool's documentation has a project write."""

    def __init__(self, *apps: str, middleware: str = "", engine: str = "", **settings: Any) -> None:
        self.apps = apps
        self.middleware = [middleware] if middleware else []
        self.engine = engine or "django.db.backends.sqlite3"
        self.settings = settings

    def start(self) -> None:
        """Do what it is started with, after ``django.setup()``."""


class OpenTelemetry(Tool):
    def start(self) -> None:
        # Not in the extra "test": by hand, with its packages beside.
        find = importlib.import_module
        find("opentelemetry.instrumentation.django").DjangoInstrumentor().instrument(
            is_sql_commentor_enabled=True
        )
        find("opentelemetry.instrumentation.sqlite3").SQLite3Instrumentor().instrument()


class Sentry(Tool):
    def start(self) -> None:
        sentry = importlib.import_module("sentry_sdk")
        sentry.init(dsn="http://key@127.0.0.1:9/1", traces_sample_rate=1.0, shutdown_timeout=0)


class Datadog(Tool):
    def start(self) -> None:
        importlib.import_module("ddtrace").patch(django=True, sqlite3=True)


TOOLS: dict[str, Tool] = {
    "none": Tool(),
    "silk": Tool("silk", middleware="silk.middleware.SilkyMiddleware", SILKY_ANALYZE_QUERIES=False),
    "debug_toolbar": Tool(
        "debug_toolbar",
        middleware="debug_toolbar.middleware.DebugToolbarMiddleware",
        INTERNAL_IPS=["127.0.0.1"],
        DEBUG_TOOLBAR_CONFIG={
            "IS_RUNNING_TESTS": False,
            "SHOW_TOOLBAR_CALLBACK": "tests.stacks.tool_beside.always",
            "TOOLBAR_STORE_CLASS": "debug_toolbar.store.DatabaseStore",
        },
    ),
    "prometheus": Tool(
        "django_prometheus",
        middleware="django_prometheus.middleware.PrometheusAfterMiddleware",
        engine="django_prometheus.db.backends.sqlite3",
    ),
    "sqlcommenter": Tool(
        middleware="google.cloud.sqlcommenter.django.middleware.SqlCommenter",
    ),
    "scout": Tool("scout_apm.django", SCOUT_MONITOR=True, SCOUT_CORE_AGENT_LAUNCH=False),
    "opentelemetry": OpenTelemetry(),
    "sentry": Sentry(),
    "ddtrace": Datadog(),
}


def always(request: Any) -> bool:
    return True


def configure(tool: Tool, place: str) -> None:
    own = [OURS, *tool.middleware] if place == "below" else [*tool.middleware, OURS]
    settings.configure(
        DEBUG=False,  # With it, Django's own debug wrapper hides how near the tool is.
        SECRET_KEY="none",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="tests.stacks.tool_beside_urls",
        DATABASES={"default": {"ENGINE": tool.engine, "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "rest_framework",
            "django_querybudget",
            *tool.apps,
        ],
        STATIC_URL="static/",
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        MIDDLEWARE=[
            *own,
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        QUERYBUDGET={"HEADERS": True, "NPLUSONE": "log"},
        LOGGING_CONFIG=None,
        USE_TZ=True,
        **tool.settings,
    )


def main() -> None:
    name, place = sys.argv[1:]
    tool = TOOLS[name]
    configure(tool, place)
    django.setup()
    tool.start()
    from django.core.management import call_command
    from django.test import Client

    from django_querybudget.signals import nplusone_found, queries_measured
    from tests.stacks.tool_beside_urls import fill

    call_command("migrate", verbosity=0)
    fill()
    reports: list[Any] = []
    found: list[Any] = []

    def measured(sender: Any, report: Any, **kwargs: Any) -> None:
        reports.append(report)

    def looped(sender: Any, report: Any, findings: Any, **kwargs: Any) -> None:
        found.extend(findings)

    queries_measured.connect(measured)
    nplusone_found.connect(looped)
    client = Client()
    said = []
    for address in ("/users", "/users"):  # The first warms what a tool sets up.
        reports.clear()
        found.clear()
        response = client.get(address)
        assert response.status_code == 200, response.content
        (report,) = reports
        said = [
            report.log.count,
            sorted({str(query.origin) for query in report.log}),
            sorted({each.fix.code for each in found if each.fix}),
        ]
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
