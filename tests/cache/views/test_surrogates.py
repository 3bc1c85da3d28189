"""Surrogate keys: what a response names is what a commit that concerns it has purged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from accounts.models import CustomUser
from django_querybudget.cache import cached_view, invalidate, invalidate_all, surrogates, tags
from django_querybudget.signals import dependencies_renewed
from jobs.models import Industry

pytestmark = pytest.mark.django_db(transaction=True)

HEADERS = ["Cache-Tag", "Surrogate-Key", "xkey", "Cache-Groups"]


@pytest.fixture(autouse=True)
def rows(settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"SURROGATE_KEYS": "Cache-Tag"}}
    caches["default"].clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])


@pytest.fixture
def purges() -> Iterator[list[frozenset[str]]]:
    seen: list[frozenset[str]] = []

    def receive(names: frozenset[str], **_: object) -> None:
        seen.append(names)

    dependencies_renewed.connect(receive)
    yield seen
    dependencies_renewed.disconnect(receive)


@cached_view(60, vary_on=(), tags=("front",))
def names_of_industries(request: HttpRequest) -> HttpResponse:
    return HttpResponse(",".join(each.name for each in Industry.objects.order_by("pk")))


def ask(header: str = "Cache-Tag") -> frozenset[str]:
    response = names_of_industries(RequestFactory().get("/"))
    text = response[header].replace('"', " ").replace(",", " ")
    return frozenset(text.split())


WRITES: dict[str, tuple[Callable[[], Any], bool]] = {
    "save": (lambda: Industry(name="three").save(), True),
    "update": (lambda: Industry.objects.filter(name="one").update(name="new"), True),
    "delete": (lambda: Industry.objects.get(name="one").delete(), True),
    "bulk_create": (lambda: Industry.objects.bulk_create([Industry(name="three")]), True),
    "invalidate a tag": (lambda: invalidate("front"), True),
    "invalidate the view": (
        lambda: invalidate(f"view:{__name__}.names_of_industries"), True
    ),
    "invalidate everything": (invalidate_all, True),
    "another table": (lambda: CustomUser.objects.create(username="u", email="u@x"), False),
    "another tag": (lambda: invalidate("back"), False),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
def test_a_commit_names_what_it_has_made_stale(write: str, purges: list[frozenset[str]]) -> None:
    filled, hit = ask(), ask()
    assert filled == hit
    assert all(len(name) == 16 for name in filled)
    act, is_of_it = WRITES[write]
    act()
    assert any(names & filled for names in purges) is is_of_it


def test_it_is_sent_once_for_a_transaction_and_after_its_commit(
    purges: list[frozenset[str]],
) -> None:
    filled = ask()
    with transaction.atomic():
        Industry.objects.create(name="three")
        CustomUser.objects.create(username="u", email="u@x")
        Industry.objects.filter(name="one").update(name="new")
        assert purges == []
    assert len(purges) == 1
    assert purges[0] & filled


@pytest.mark.parametrize(
    ("header", "written"),
    [
        ("Cache-Tag", "own, {0}, {1}"),
        ("Surrogate-Key", "own {0} {1}"),
        ("xkey", "own {0} {1}"),
        ("Cache-Groups", 'own, "{0}", "{1}"'),
    ],
)
def test_how_each_header_is_written(header: str, written: str) -> None:
    response = HttpResponse(headers={header: "own"})
    surrogates.add_header(response, header, {"d:t:a", "d:t:b"})
    expected = sorted(map(surrogates.name_of, ("d:t:a", "d:t:b")))
    assert response[header] == written.format(*expected)


def test_the_setting_counts_from_the_next_request_on(settings: Any) -> None:
    ask()
    for header in HEADERS:
        settings.QUERYBUDGET = {"CACHE": {"SURROGATE_KEYS": header}}
        for _ in range(2):
            assert ask(header)
            response = names_of_industries(RequestFactory().get("/"))
            assert [each for each in HEADERS if each in response] == [header]
    settings.QUERYBUDGET = {"CACHE": {}}
    response = names_of_industries(RequestFactory().get("/"))
    assert not [each for each in HEADERS if each in response]


def test_what_is_not_stored_names_nothing() -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.COOKIES.get("theme", ""), headers={"Cache-Tag": "own"})

    response = view(RequestFactory().get("/", headers={"Cookie": "theme=dark"}))
    assert response["Cache-Tag"] == "own"


def test_tables_stand_for_many_rows() -> None:
    rows = {tags.row_tag("d", "a:b", f"{number}") for number in range(300)}
    found = rows | {tags.scope_tag("d", "a:b", "c", "1"), "d:b:a:b", "d:*", "u:front", "d:S:c"}
    for most in (surrogates.MOST, surrogates.MOST_GROUPS):
        names = surrogates.names_of(found, most)
        assert set(names) == {
            surrogates.name_of(tag) for tag in ("d:t:a:b", "d:t:c", "d:b:a:b", "d:*", "u:front")
        }


def test_two_sites_in_one_cdn_have_names_of_their_own(settings: Any) -> None:
    own = surrogates.name_of("d:t:a")
    settings.QUERYBUDGET = {"CACHE": {"TOKEN_PREFIX": "shop"}}
    assert surrogates.name_of("d:t:a") != own
