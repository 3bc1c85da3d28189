"""A process as production has it: it answers one request, and tells which modules are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["loaded_in_production"]

ROOT = Path(__file__).parent.parent

_PROCESS = """
import sys, types
settings = types.ModuleType("production")
vars(settings).update(
    SECRET_KEY="x", DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF="production_urls",
    INSTALLED_APPS=["django_querybudget"], QUERYBUDGET=%r,
    MIDDLEWARE=["django_querybudget.middleware.QueryBudgetMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
urls = types.ModuleType("production_urls")
sys.modules |= {"production": settings, "production_urls": urls}

import django
django.setup()
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.core.handlers.wsgi import WSGIHandler

def view(request):
    for _ in range(9):
        connection.cursor().execute("SELECT 1")
    return HttpResponse()

urls.urlpatterns = [path("", view)]
assert WSGIHandler().get_response(RequestFactory().get("/")).status_code == 200
%s
print(*sorted(name for name in sys.modules if name.startswith("django_querybudget.")))
"""


def loaded_in_production(querybudget: dict[str, object], then: str = "") -> list[str]:
    """Return the library's modules after one request, by ``QUERYBUDGET``, and after ``then``."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROCESS % (querybudget, then)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "production"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()
