"""Make the pictures of production's page: a real Chromium looks at a site that lived for an hour.

Run it by ``make page-pictures`` on a machine with Chromium: it writes ``docs/_static/page-*.webp``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "docs" / "_static"
sys.path[:0] = [str(ROOT), str(ROOT / "testproject")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

# What follows needs the paths above: E402 is right everywhere else.
import django  # noqa: E402

django.setup()

from django.http import HttpResponse  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django.urls import include, path, resolve  # noqa: E402

from django_querybudget.production.pages import Frame  # noqa: E402
from django_querybudget.production.reading import read_picture  # noqa: E402
from tests.production.browser import Answer, Browser  # noqa: E402
from tests.production.pictured import an_hour_of_a_site  # noqa: E402
from tests.production.pictured_tabs import render_tab  # noqa: E402

urlpatterns = [path("querybudget/", include("django_querybudget.urls"))]

SERIES = "series/?kind=view&name=jobs:list&method=GET"
PICTURES = (
    # Name, page, width, height (0 is the whole page), dark.
    ("page-light", "", 1180, 980, False),
    ("page-dark", "", 1180, 980, True),
    ("page-view", SERIES, 1180, 1500, False),
    ("page-database", "database/?since=24h", 1180, 1100, False),
    ("page-cache", "cache/", 1180, 880, False),
    ("page-tests", "tests/", 1180, 790, False),
    ("page-phone", "", 390, 844, False),
    ("page-phone-view", SERIES, 390, 844, True),
)


TABS = ("database", "cache", "tests")
"""What these tell is not in the record."""


class Staff:
    """Who looks."""

    is_active = is_staff = True


def answer(url: str) -> Answer:
    """Answer as the site would to its staff."""
    if not url.startswith("/querybudget/"):  # a browser asks for an icon
        return 404, {}, b""
    request = RequestFactory().get(url)
    tab = request.path.removeprefix("/querybudget/").strip("/")
    if tab in TABS:
        since = request.GET.get("since", "1h")
        html = render_tab(tab, read_picture(3600), Frame("/querybudget/", since))
        return 200, {"Content-Type": "text/html; charset=utf-8"}, html.encode()
    request.user = Staff()  # type: ignore[assignment]
    found = resolve(request.path, urlconf=__name__)
    response: HttpResponse = found.func(request, *found.args, **found.kwargs)
    return response.status_code, dict(response.headers), response.content


def main(only: str = "", form: str = "webp", folder: Path = STATIC) -> None:
    """Write the pictures."""
    with override_settings(ROOT_URLCONF=__name__), Browser.running() as browser:
        browser.answer = answer
        with an_hour_of_a_site(time.time()):
            for name, page, width, height, dark in PICTURES:
                if only in name:
                    browser.look(width=width, height=height, dark=dark)
                    browser.open(f"/querybudget/{page}")
                    (folder / f"{name}.{form}").write_bytes(browser.picture(form))


if __name__ == "__main__":
    main(*sys.argv[1:3], folder=Path(os.environ.get("FOLDER", STATIC)))
