"""Answers of which no two are alike: what can be is compared, and all else is not called proved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from django_querybudget.patches.edits import Edit
from django_querybudget.patches.fixing import Wanted, fix
from django_querybudget.patches.judged import Judged
from django_querybudget.patches.proving import Proof
from django_querybudget.patches.rehearsals import Suite
from django_querybudget.patches.report import as_data, as_text, diff_of

from .project import commit

pytestmark = pytest.mark.once

_VIEWS = """
import os

from django.http import HttpResponse

from shop.models import Book


def ago(request):
    names = [book.author.name for book in Book.objects.all()]
    run = len(os.listdir(os.environ["RUNS"]))
    open(f"{os.environ['RUNS']}/{run}", "w").close()
    return HttpResponse("".join(f"<p>{name}</p>" for name in names) + "<hr>" * 60 + ", 3 s" * run)


def noise(request):
    names = [book.author.name for book in Book.objects.all()]
    words = " ".join(os.urandom(1).hex() for _ in range(100 + os.urandom(1)[0]))
    return HttpResponse(words + ", ".join(names))


def away(request):
    return HttpResponse("the same")
"""
_URLS = """
from django.urls import path

from shop import odd_views as views

urlpatterns = [path(name, getattr(views, name), name=name) for name in ("ago", "noise", "away")]
"""
_TESTS = """
from django.test import TestCase

from shop.models import Author, Book


class Tests(TestCase):
    def setUp(self):
        for number in range(4):
            Book.objects.create(author=Author.objects.create(name=f"author {number}"))

    def test_ago(self):
        self.client.get("/ago")

    def test_noise(self):
        self.client.get("/away")
        self.client.get("/noise")
"""


@pytest.fixture
def project(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (project / "shop/odd_views.py").write_text(_VIEWS)
    (project / "shop/urls.py").write_text(_URLS)
    (project / "shop/tests.py").write_text(_TESTS)
    commit(project)
    runs = project.parent / "runs"
    runs.mkdir()
    monkeypatch.setenv("RUNS", str(runs))
    return project


def _suite() -> Suite:
    return Suite("test", (), (str(Path("manage.py").resolve()),))


@pytest.mark.slow  # it runs a suite several times
def test_what_is_compared_in_part_is_proved_and_noise_is_not(project: Path) -> None:
    with Proof(project, _suite()) as proof:
        proof.run()
        ago, noise = sorted(proof.judged.values(), key=lambda each: each.patch.found[0].origin)
        told, data, diff = as_text(proof), as_data(proof), diff_of(proof).decode()
        assert ago.proof == (
            "GET ago 5 → 1 query, 1 identical in what two runs without a patch share, 1 test passes"
        )
        assert noise.proof == (
            "GET noise 5 → 1 query, no response of it could be compared, "
            "1 other response identical, 1 that no two runs answer alike, 1 test passes"
        )
        assert "Saves, tests pass, no answer compared: shop/odd_views.py" in told
        assert told.count("Proved: ") == diff.count("+    names") == 1
        outcomes = {each["id"]: each["outcome"] for each in data["patches"]}
        assert outcomes == {ago.patch.key: "proved", noise.patch.key: "uncompared"}
        # With this line the queries and the tests are the same, too: only its answer is not.
        text = proof.before("shop/odd_views.py").decode()
        start = text.index("Book.objects.all()")
        new = 'Book.objects.select_related("author").order_by("-pk")'
        edit = Edit("shop/odd_views.py", start, start + len("Book.objects.all()"), new)
        wrong = Judged(replace(ago.patch, edits=(edit,)), ago.saves)
        for scope in (each for every in proof.baseline.first.scopes.values() for each in every):
            if saves := scope.saves.get(ago.patch.key):
                scope.saves[wrong.patch.key] = saves
        proof.judged[wrong.patch.key] = wrong
        proof._accepted.clear()
        proof._prove([wrong.patch.key])
    assert wrong.outcome == "withdrawn"
    assert "the answer to GET /ago differs: a part is not there" in wrong.reasons[0]


def test_what_no_answer_was_compared_of_is_written_if_asked_for(project: Path) -> None:
    told: list[str] = []
    suite = Suite("test", ("shop.tests.Tests.test_noise",), _suite().program)
    wanted = Wanted(apply=True, uncompared=True)
    assert fix(suite, wanted, out=told.append, err=told.append) == 0, told
    report = "\n".join(told)
    assert "Saves, tests pass, no answer compared: shop/odd_views.py" in report
    assert "Proved: " not in report
    assert 'select_related("author")' in (project / "shop/odd_views.py").read_text()
