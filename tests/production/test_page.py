"""The page in a real Chromium: its policy, both schemes, a phone, the keyboard, a screen reader."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import include, path

from accounts.models import CustomUser
from django_querybudget.production.pages import Frame
from django_querybudget.production.reading import read_picture
from tests.production import browser
from tests.production.browser import Browser
from tests.production.pictured import an_hour_of_a_site
from tests.production.pictured_tabs import render_tab

pytestmark = [
    pytest.mark.once, pytest.mark.chromium, pytest.mark.django_db, pytest.mark.urls(__name__),
]  # fmt: skip

urlpatterns = [
    path("admin/", admin.site.urls),
    path("querybudget/", include("django_querybudget.urls")),
]

HOSTILE = "</title><script>document.title='run'</script><img src=x onerror=alert(1)>\"'&"
PAGES = ("", "database/", "cache/", "tests/", "series/?kind=view&name=jobs:list&method=GET")
CONTRAST = """
(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, under) => {
    const a = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map(i => top[i] * a + under[i] * (1 - a));
  };
  const ground = node => {
    const layers = [];
    for (let at = node; at; at = at.parentElement)
      layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const light = rgb => {
    const [r, g, b] = rgb.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !node.getClientRects().length || node.closest("svg, .skip")) continue;
    const under = ground(node), ink = over(parse(getComputedStyle(node).color), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
    const contrast = (a + .05) / (b + .05);
    if (contrast < 4.5) found.push([node.className, text, contrast]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all of these tests."""
    with Browser.running() as found:
        yield found


@pytest.fixture
def page(chromium: Browser, db: None) -> Iterator[Browser]:
    """The browser, with staff's pages of a site that has lived for an hour."""
    client = Client()
    client.force_login(CustomUser.objects.create(username="boss", email="b@x.org", is_staff=True))

    def answer(url: str) -> browser.Answer:
        response = client.get(url)
        return response.status_code, dict(response.headers), response.content

    chromium.answer = answer
    chromium.look()
    with an_hour_of_a_site(time.time(), minutes=10, more=(HOSTILE, "x" * 10_000)):
        yield chromium


def test_the_policy_lets_in_all_that_the_page_needs(page: Browser) -> None:
    for each in PAGES:
        page.open(f"/querybudget/{each}")
        assert page.complaints == []
        wanted = {f"{browser.ORIGIN}/querybudget/{each}", f"{browser.ORIGIN}/querybudget/style.css"}
        assert {url.replace("%3A", ":") for url in page.requested} == wanted
        assert page.evaluate("document.styleSheets[0].cssRules.length") > 50
        assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_the_browser_does_hold_pages_to_the_policy(page: Browser) -> None:
    """Or nothing above is proved."""
    answer = page.answer

    def spoiled(url: str) -> browser.Answer:
        status, headers, body = answer(url)
        return status, headers, body.replace(b"<main", b"<style>p{top:0}</style><main", 1)

    page.answer = spoiled
    page.open("/querybudget/")
    assert "Content Security Policy" in page.complaints[0]


@pytest.mark.parametrize("dark", [False, True])
def test_dark_and_light_are_both_readable(page: Browser, dark: bool) -> None:
    page.look(dark=dark)
    for each in PAGES:
        page.open(f"/querybudget/{each}")
        assert page.evaluate(CONTRAST) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 3 * 64) is dark


@pytest.mark.parametrize("tab", ["database", "cache", "tests"])
def test_tabs_that_have_much_to_say_are_readable_and_fit_a_phone(page: Browser, tab: str) -> None:
    answer = page.answer
    html = render_tab(tab, read_picture(3600), Frame("/querybudget/", "1h")).encode()
    full = 200, {"Content-Type": "text/html; charset=utf-8"}, html
    page.answer = lambda url: answer(url) if url.endswith(".css") else full
    for dark in (False, True):
        page.look(dark=dark)
        page.open("/querybudget/")
        assert page.evaluate(CONTRAST) == []
    page.look(width=390, height=844)
    page.open("/querybudget/")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert all(name for role, name in page.accessible() if role in ("table", "link"))


def test_nothing_is_wider_than_a_phone(page: Browser) -> None:
    page.look(width=390, height=844)
    for each in PAGES:
        page.open(f"/querybudget/{each}")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.open("/querybudget/")
    roles = [role for role, _ in page.accessible()]
    assert roles.count("rowheader") == roles.count("row") - 1  # as cards it is a table still


WIDTHS = (737, 780, 897, 961, 1089, 1280)


def test_nothing_is_wider_than_a_window_between_phone_and_desk(page: Browser) -> None:
    for each in PAGES:
        page.open(f"/querybudget/{each}")
        found = []
        for width in WIDTHS:
            page.look(width=width, height=800)
            found.append(page.evaluate("document.documentElement.scrollWidth"))
        assert found == [*WIDTHS], each


def test_the_keyboard_reaches_every_link_in_order(page: Browser) -> None:
    page.open("/querybudget/")
    links = page.evaluate("[...document.querySelectorAll('a')].map(each => each.href)")
    reached = []
    for _ in links:
        page.press("Tab")
        reached.append(page.evaluate("document.activeElement.href"))
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid"
    assert reached == links
    page.open("/querybudget/")
    page.press("Tab")
    page.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_screen_reader_is_told_what_things_are(page: Browser) -> None:
    page.open("/querybudget/")
    told = page.accessible()
    roles = {role for role, _ in told}
    assert {"banner", "main", "navigation", "contentinfo", "table", "columnheader"} <= roles
    named = {(role, name) for role, name in told if role in ("table", "navigation", "image")}
    assert ("navigation", "Pages") in named
    assert ("navigation", "Period") in named
    assert any(role == "table" and name.startswith("Views and tasks") for role, name in named)
    assert any(role == "image" and name.startswith("Database time from") for role, name in named)
    assert all(name for role, name in told if role in ("table", "navigation", "image", "link"))
    page.open(f"/querybudget/{PAGES[-1]}")
    headings = [name for role, name in page.accessible() if role == "heading"]
    assert headings[0] == "GET jobs:list"
    assert {"N+1 queries", "Queries that cost most", "Cache"} <= set(headings)


def test_what_clients_invent_is_shown_and_never_run(page: Browser) -> None:
    page.open("/querybudget/")
    target = page.evaluate(
        "[...document.querySelectorAll('tbody a')].find(each => each.text.includes('script')).href"
    )
    for url in ("/querybudget/", target.removeprefix(browser.ORIGIN)):
        page.open(url)
        assert page.evaluate("document.querySelectorAll('script, img').length") == 0
        assert page.evaluate("document.title").endswith("Query budget")
        assert "<img src=x onerror=alert(1)>" in page.evaluate("document.body.innerText")
        assert page.complaints == []


def test_the_report_is_one_file_that_asks_for_nothing(page: Browser, tmp_path: Path) -> None:
    from tests.production.test_report import report

    report("--html", str(tmp_path / "report.html"))
    page.answer = lambda url: (
        200, {"Content-Type": "text/html; charset=utf-8"}, (tmp_path / "report.html").read_bytes(),
    )  # fmt: skip
    page.open("/report.html")
    assert page.requested == [f"{browser.ORIGIN}/report.html"]
    assert page.complaints == []
    assert page.evaluate("document.styleSheets[0].cssRules.length") > 50
