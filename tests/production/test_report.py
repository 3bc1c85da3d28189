"""``manage.py querybudget report`` and the page: the same figures, in text, JSON and HTML."""

from __future__ import annotations

import html.parser
import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django.test.utils import override_settings
from django.urls import include, path

from accounts.models import CustomUser
from django_querybudget.production.admin_link import add_to_admin
from django_querybudget.production.measures import COUNTERS
from django_querybudget.production.pages import SHOWN
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.record import MOST_SERIES, Cost, ShapeAt, series_key
from tests.production.conftest import SECTION

pytestmark = [pytest.mark.urls(__name__)]


class OwnSite(admin.AdminSite):
    """A host's, with a list of its own."""

    def get_app_list(self, request: Any, app_label: str | None = None) -> list[Any]:
        return []


OWN = OwnSite("own")

urlpatterns = [
    path("admin/", admin.site.urls),
    path("own/", OWN.urls),
    path("querybudget/", include("django_querybudget.urls")),
]

HOSTILE = "<script>alert(1)</script>\x1b[31m\"'&"


def add(record: ProcessRecord, name: str, requests: int, queries: int, seconds: float) -> None:
    for _ in range(requests):
        values = (queries, seconds, 20, 1, 1, 1, 3, 1, 0)
        record.add(series_key("view", name, "GET"), values, [], budget=10)


@pytest.fixture
def filled(record: ProcessRecord) -> ProcessRecord:
    add(record, "jobs:list", 30, 40, 0.1)
    add(record, "reviews", 10, 2, 0.1)
    add(record, HOSTILE, 1, 1, 0.001)
    pending = record._pending.record
    for key, series in pending.series.items():
        if key.name != "reviews":
            shape = ShapeAt(f"SELECT {HOSTILE} FROM t", "jobs/views.py:31")
            pending.add_shape(series, shape, Cost(1200, 2.4))
    record.flush()
    return record


def report(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("querybudget", "report", *arguments, stdout=out, **options)
    return out.getvalue()


def test_the_table_ranks_by_total_time(filled: ProcessRecord) -> None:
    lines = report().splitlines()
    first = lines[1].split()
    assert first[:2] == ["GET", "jobs:list"]
    assert first[2:5] == ["█████████", "75%", "30"]
    assert "80%  SELECT" in lines[2]
    assert lines[2].endswith("jobs/views.py:31")
    assert lines[3].split()[:2] == ["GET", "reviews"]
    assert "\x1b" not in "".join(lines)


def test_json_has_the_exact_totals(filled: ProcessRecord) -> None:
    told = json.loads(report("--json", "--since", "2d"))
    jobs, reviews, hostile = told["series"]
    assert (jobs["name"], jobs["requests"], jobs["queries"]) == ("jobs:list", 30, 40.0)
    assert (reviews["seconds"], reviews["over_budget"], reviews["budget"]) == (1.0, 10, 10)
    assert (reviews["hits"], reviews["misses"], reviews["hit_rate"]) == (30, 10, 0.75)
    assert hostile["name"] == HOSTILE.replace("\x1b", "�")
    assert sum(point[1] for point in told["trend"]) == 41


def test_two_releases_side_by_side(record: ProcessRecord) -> None:
    for release, queries in (("1.0", 83), ("1.1", 3)):
        with override_settings(QUERYBUDGET={"PRODUCTION": SECTION, "RELEASE": release}):
            one = ProcessRecord("default")
            add(one, "jobs:list", 5, queries, 0.01)
            if release == "1.1":
                add(one, "new", 1, 1, 0.01)
            one.flush()
    with override_settings(QUERYBUDGET={"PRODUCTION": SECTION, "RELEASE": "1.1"}):
        lines = report("--compare", "1.0").splitlines()
        told = json.loads(report("--compare", "1.0", "--json"))
    assert "83.0 → 3.0" in lines[1]
    assert lines[1].endswith("-80.0")
    assert "- → 1.0" in lines[2]
    assert (told[0]["before"]["queries"], told[0]["after"]["queries"]) == (83.0, 3.0)
    with pytest.raises(CommandError, match=r"no|No request of the release '9'.*'1\.0', '1\.1'"):
        report("--compare", "9")


def test_bad_input_names_the_way_out(record: ProcessRecord, tmp_path: Path) -> None:
    assert "No request was recorded" in report()
    with pytest.raises(CommandError, match="--since: 'yesterday' is no time"):
        report("--since", "yesterday")
    for target in (tmp_path / "no" / "report.html", tmp_path, "a\0b"):
        with pytest.raises(CommandError, match=r"--html: .* cannot be written: "):
            report("--html", str(target))
    with override_settings(QUERYBUDGET={}), pytest.raises(CommandError, match='add "PRODUCTION"'):
        report()


class Parsed(html.parser.HTMLParser):
    """What a page would load or run, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_the_file_is_self_contained_and_escaped(filled: ProcessRecord, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert report("--html", str(target)) == f"Wrote {target}.\n"
    text = target.read_text()
    parsed = Parsed(text)
    assert "script" not in parsed.tags
    assert not {"src", "href", "style", "onload"} & {name for name, _ in parsed.attributes}
    assert "&lt;script&gt;alert(1)" in text
    assert "jobs/views.py:31" in text


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(CustomUser.objects.create(username="boss", email="b@x.org", is_staff=True))
    return client


def test_staff_see_the_page_under_a_strict_policy(filled: ProcessRecord, staff: Client) -> None:
    response = staff.get("/querybudget/")
    text = response.content.decode()
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "no-store" in response.headers["Cache-Control"]
    parsed = Parsed(text)
    assert "script" not in parsed.tags
    assert "style" not in parsed.tags
    assert "style" not in {name for name, _ in parsed.attributes}
    assert ("href", "/querybudget/style.css") in parsed.attributes
    link = next(v for n, v in parsed.attributes if n == "href" and v and "jobs%3Alist" in v)
    detail = staff.get(link).content.decode()
    assert "jobs/views.py:31" in detail
    assert "Requests by their number of queries" in detail
    hostile = next(v for n, v in parsed.attributes if n == "href" and v and "script" in v)
    assert "<script" not in staff.get(hostile).content.decode()
    assert staff.get("/querybudget/style.css").headers["Content-Type"].startswith("text/css")
    # No query but those that the session and the user need.
    assert re.search(r"30</td>", text)


def test_unknown_series_and_times(filled: ProcessRecord, staff: Client) -> None:
    assert staff.get("/querybudget/?since=yesterday").status_code == 400
    assert staff.get("/querybudget/series/?since=1").status_code == 400
    page = staff.get("/querybudget/series/?kind=view&name=%3Cb%3E&method=GET")
    assert page.status_code == 200
    assert "No request of it" in page.content.decode()
    assert "<b>" not in page.content.decode()
    assert staff.post("/querybudget/").status_code == 405


def test_what_the_audit_found_stale_stands_beside_its_view(
    filled: ProcessRecord, staff: Client
) -> None:
    assert 'tag bad">stale' not in staff.get("/querybudget/").content.decode()
    for each, number in zip(COUNTERS, (7, 2), strict=True):
        filled.count(series_key("view", "reviews", "GET"), each.total, number)
    filled.flush()
    assert 'tag bad">stale 2<' in staff.get("/querybudget/").content.decode()


def test_thousands_of_routes(record: ProcessRecord, staff: Client) -> None:
    for number in range(3 * MOST_SERIES):
        add(record, f"view {number}", 1, 1, 0.001 * number)
    record.flush()
    text = staff.get("/querybudget/").content.decode()
    assert text.count('<th scope="row">') == SHOWN
    assert f"Show {MOST_SERIES - SHOWN} more" in text
    text = staff.get("/querybudget/?all=1").content.decode()
    assert text.count('<th scope="row">') == MOST_SERIES
    told = json.loads(report("--json"))["series"]
    assert told[0]["kind"] == "other"  # what found no place counts, too
    assert sum(each["requests"] for each in told) == 3 * MOST_SERIES


@pytest.mark.parametrize(
    ("kinds", "heading"),
    [
        (["view"], "Views"),
        (["task", "view"], "Views and tasks"),
        (["message", "task", "command", "view"], "Views, tasks, commands and messages"),
    ],
)
def test_the_heading_names_the_kinds_that_are_there(
    record: ProcessRecord, staff: Client, kinds: list[str], heading: str
) -> None:
    for kind in kinds:
        record.add(series_key(kind, "it"), (1, 0.1, None, 0, None, None, 0, 0, 0), [])
    record.flush()
    assert f"<h2>{heading}</h2>" in staff.get("/querybudget/").content.decode()


class Away(LocMemCache):
    """A cache whose server is away."""

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("<away>")


@pytest.mark.parametrize("url", ["", "series/", "tests/", "database/"])
def test_a_page_without_a_record_says_why(record: ProcessRecord, staff: Client, url: str) -> None:
    with override_settings(QUERYBUDGET={}):
        response = staff.get(f"/querybudget/{url}")
        assert response.status_code == 503
        assert "add &quot;PRODUCTION&quot;" in response.content.decode()
    away = {"BACKEND": f"{__name__}.Away"}
    section = {"PRODUCTION": {"ALIAS": "away"}}
    with override_settings(CACHES={**settings.CACHES, "away": away}, QUERYBUDGET=section):
        response = staff.get(f"/querybudget/{url}")
        assert response.status_code == 503
        assert "cannot be read: ConnectionError: &lt;away&gt;" in response.content.decode()
        assert "Content-Security-Policy" in response.headers
        with pytest.raises(CommandError, match="'away' cannot be read: ConnectionError: <away>"):
            report()


def test_the_admins_index_links_to_the_page(staff: Client) -> None:
    for _ in range(2):  # included twice, or reloaded
        add_to_admin()
    for index in ("/admin/", "/own/"):
        text = staff.get(index).content.decode()
        assert text.count('href="/querybudget/"') >= 1
        assert text.count("What each view costs the database") == 1
    request = RequestFactory().get("/admin/")
    request.user = CustomUser.objects.get(username="boss")
    assert [app["app_label"] for app in OWN.get_app_list(request)] == ["querybudget"]
    assert OWN.get_app_list(request, "querybudget") == []  # no page of the admin's is of it
    with override_settings(ROOT_URLCONF="marketplace.urls"):
        assert OWN.get_app_list(request) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "url", ["", "series/", "database/", "cache/", "tests/", "style.css", "?all=1"]
)
def test_strangers_and_users_are_sent_to_the_admins_login(record: ProcessRecord, url: str) -> None:
    client = Client()
    for user in (None, CustomUser.objects.create(username="u", email="u@x.org")):
        if user is not None:
            client.force_login(user)
        response = client.get(f"/querybudget/{url}")
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/?next=/querybudget/")
    assert AnonymousUser().is_staff is False
