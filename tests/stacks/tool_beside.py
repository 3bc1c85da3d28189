"""A project that has another tool beside us: what a request of it counted, as JSON.

Run: ``python tests/stacks/tool_beside.py TOOL above|below``; TOOL is a name of ``TOOLS``, or none.
It is a program of its own since a tool replaces methods of Django's for the whole process. Some
tools are not in the extra "test", see ``TOOLS``: for those, run it by hand where they are.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import django
from django.conf import settings

OURS = "django_querybudget.middleware.QueryBudgetMiddleware"


find = importlib.import_module


class Tool:
    """What a tool's documentation has a project write."""

    def __init__(
        self,
        *apps: str,
        folder: str = "",
        middleware: str = "",
        engine: str = "",
        **settings: Any,
    ) -> None:
        self.apps = apps
        self.folder = f"/site-packages/{folder}/"
        self.middleware = [middleware] if middleware else []
        self.engine = engine or "django.db.backends.sqlite3"
        self.settings = settings

    def start(self) -> None:
        """Do what it is started with, before ``django.setup()``."""


class OpenTelemetry(Tool):
    def start(self) -> None:
        sdk = find("opentelemetry.sdk.trace")
        kept = find("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
        provider = sdk.TracerProvider()  # Without one, its spans record nothing.
        provider.add_span_processor(sdk.export.SimpleSpanProcessor(kept))
        find("opentelemetry.trace").set_tracer_provider(provider)
        find("opentelemetry.instrumentation.django").DjangoInstrumentor().instrument(
            is_sql_commentor_enabled=True
        )
        find("opentelemetry.instrumentation.sqlite3").SQLite3Instrumentor().instrument()


class Sentry(Tool):
    def start(self) -> None:
        class Nowhere(find("sentry_sdk.transport").Transport):  # type: ignore[misc]
            def capture_envelope(self, envelope: Any) -> None:
                pass

        find("sentry_sdk").init(
            dsn="http://key@127.0.0.1:9/1",
            send_default_pii=True,
            traces_sample_rate=1.0,
            transport=Nowhere,
        )


TOOLS: dict[str, Tool] = {
    "none": Tool(),
    "silk": Tool(
        "silk",
        folder="silk",
        middleware="silk.middleware.SilkyMiddleware",
        SILKY_ANALYZE_QUERIES=False,
    ),
    "debug_toolbar": Tool(
        "debug_toolbar",
        folder="debug_toolbar",
        middleware="debug_toolbar.middleware.DebugToolbarMiddleware",
        INTERNAL_IPS=["127.0.0.1"],
        DEBUG_TOOLBAR_CONFIG={
            "IS_RUNNING_TESTS": False,
            "SHOW_TOOLBAR_CALLBACK": "tests.stacks.tool_beside.always",
            "TOOLBAR_STORE_CLASS": "debug_toolbar.store.DatabaseStore",
        },
    ),
    "sentry": Sentry(folder="sentry_sdk"),
    "opentelemetry": OpenTelemetry(folder="opentelemetry"),
    # By hand from here on. django-prometheus forbids Django 6.1, sqlcommenter needs setuptools
    # below 81, scout wrapt below 2; ddtrace has 43 MB.
    "prometheus": Tool(
        "django_prometheus",
        folder="django_prometheus",
        middleware="django_prometheus.middleware.PrometheusAfterMiddleware",
        engine="django_prometheus.db.backends.sqlite3",
    ),
    "sqlcommenter": Tool(
        folder="google/cloud/sqlcommenter",
        middleware="google.cloud.sqlcommenter.django.middleware.SqlCommenter",
    ),
    "scout": Tool(
        "scout_apm.django", folder="scout_apm", SCOUT_MONITOR=True, SCOUT_CORE_AGENT_LAUNCH=False
    ),
    "ddtrace": Tool(folder="ddtrace"),  # Run by ``ddtrace-run python``.
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
            "rest_framework.authtoken",
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
    errors = Errors()
    logging.getLogger().addHandler(errors)
    tool.start()
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from django_querybudget.signals import nplusone_found, queries_measured
    from tests.stacks.tool_beside_urls import KEY, fill

    call_command("migrate", verbosity=0)
    fill()
    reports: list[Any] = []
    found: list[Any] = []
    watched: list[bool] = []

    def measured(sender: Any, report: Any, **kwargs: Any) -> None:
        reports.append(report)

    def looped(sender: Any, report: Any, findings: Any, **kwargs: Any) -> None:
        found.extend(findings)

    queries_measured.connect(measured)
    nplusone_found.connect(looped)
    connection.connection.set_trace_callback(
        lambda sql: watched.append(stands_within(sys._getframe(1), tool.folder))
    )
    client = Client(headers={"Authorization": f"Token {KEY}"})
    client.force_login(get_user_model().objects.order_by("pk")[0])  # A tool may ask for the user.
    said: dict[str, Any] = {}
    for address in (
        "/users",
        "/mine",
        "/visit",
        "/rows",
        "/async-rows",
    ) * 2:  # The first warms what a tool sets up.
        reports.clear()
        found.clear()
        watched.clear()
        response = client.get(address)
        assert response.status_code == 200, response.content
        (report,) = reports
        # The tool is there: else that nothing differs would say nothing.
        assert name == "none" or sum(watched) >= report.log.count, (address, sum(watched))
        said[address] = [
            report.log.count,
            sorted({str(query.origin) for query in report.log}),
            sorted({each.fix.code for each in found if each.fix}),
            [str(each) for each in found],
            [query.sql for query in report.log],
        ]
    sys.stdout.write(json.dumps({"answers": said, "errors": errors.messages}))


class Errors(logging.Handler):
    """Keeps what is logged as an error, whoever logs it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.name}: {record.getMessage()}")


def stands_within(frame: FrameType | None, folder: str) -> bool:
    """Whether a tool's function stands between what sends a statement and the view."""
    while frame is not None:
        filename = frame.f_code.co_filename
        if folder in filename:
            return True
        if filename.endswith(("tool_beside_urls.py", "rest_framework/views.py")):
            return False
        frame = frame.f_back
    return False


if __name__ == "__main__":
    main()
