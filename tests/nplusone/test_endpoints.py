"""The testproject's naive endpoints, with the suggested lines written into their source."""

from __future__ import annotations

import ast
import inspect
import types
from types import ModuleType
from typing import Any

import pytest
from django.db import models
from django.test import Client, override_settings

import accounts.models
import accounts.views_naive
import jobs.models
import jobs.views_naive
import payment.models
import payment.views_naive
import rating.models
import rating.views_naive
from django_querybudget import capture_queries
from django_querybudget.nplusone import Cause, Finding, Fix, find_nplusone
from django_querybudget.records import QueryLog
from marketplace.measuring import NAMES
from marketplace.sample_data import fill
from marketplace.urls import endpoints

from .corpus import fixes_of

VIEWS = {
    "jobs": jobs.views_naive,
    "accounts": accounts.views_naive,
    "payment": payment.views_naive,
    "rating": rating.views_naive,
}
KNOWN = {
    name: value
    for module in (models, accounts.models, jobs.models, payment.models, rating.models)
    for name, value in vars(module).items()
    if name[0].isupper()
}


@pytest.fixture
def visitor(db: None) -> Client:
    fill(0.1)
    client = Client()
    client.force_login(accounts.models.CustomUser.objects.order_by("pk")[0])
    return client


def _ask(client: Client, name: str) -> tuple[QueryLog, bytes]:
    job = jobs.models.Job.objects.annotate(n=models.Count("applications")).order_by("-n", "pk")[0]
    parameters = {"id": job.pk} if name == "job-details" else {}
    with capture_queries() as log:
        response = client.get(f"/naive/{name}", parameters)
    assert response.status_code == 200
    return log, response.content


class _Write(ast.NodeTransformer):
    """Writes one suggestion where it says: after the manager, before the rest of the chain."""

    def __init__(self, fix: Fix) -> None:
        assert fix.place is not None
        self.written = 0
        self._line = fix.place.line
        # What is evaluated stands further down in its statement (before Python 3.12).
        self._last = fix.place.line + (0 if fix.built else 25)
        chain = ast.parse(fix.code, mode="eval").body
        self._only = self._take_only(chain)
        start = chain if self._only is None else chain.func.value  # type: ignore[attr-defined]
        self._expression = start
        while isinstance(start, ast.Call):
            start = start.func.value  # type: ignore[attr-defined]
        assert isinstance(start, ast.Attribute)
        self._start = start

    def _take_only(self, chain: Any) -> list[ast.expr] | None:
        return chain.args if chain.func.attr == "only" else None

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        method = getattr(node.func, "attr", "")
        if self._only is not None and method == "only":  # It stands after ours: it would undo it.
            node.args = self._only
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        manager = self._start.attr == "objects"
        same = ast.unparse(node) == ast.unparse(self._start) if manager else True
        if node.attr != self._start.attr or not same or self.written:
            return node
        if not self._line <= node.lineno <= self._last:
            return node
        self.written += 1
        text = ast.unparse(self._expression).replace(
            ast.unparse(self._start), f"({ast.unparse(node)})", 1
        )
        return ast.parse(text, mode="eval").body


def _rewritten(module: ModuleType, fixes: tuple[Fix, ...]) -> ModuleType:
    tree = ast.parse(inspect.getsource(module))
    for fix in fixes:
        if fix.place is not None and fix.place.filename == module.__file__:
            writer = _Write(fix)
            tree = writer.visit(tree)
            assert writer.written == 1, fix
    new = types.ModuleType(module.__name__)
    new.__dict__.update(KNOWN, __file__=module.__file__)
    exec(compile(ast.fix_missing_locations(tree), str(module.__file__), "exec"), new.__dict__)  # noqa: S102
    return new


def _urls(fixes: tuple[Fix, ...]) -> ModuleType:
    from django.urls import include, path

    views: Any = {name: _rewritten(module, fixes) for name, module in VIEWS.items()}
    urls: Any = types.ModuleType("rewritten_urls")
    urls.urlpatterns = [path("naive/", include((endpoints(**views), "naive")))]
    return urls


# What is left after the suggested lines is no loop: log-in, page count, totals, one query each.
LEFT = {
    "alljobs": 5,
    "saved-jobs": 4,
    "applications": 4,
    "payments": 5,
    "reviews": 2,
    "user-profile": 14,
    "job-details": 9,
}


def _without_loops(log: QueryLog, findings: tuple[Finding, ...]) -> int:
    return log.count - sum(finding.saves for finding in findings)


@pytest.mark.parametrize("name", NAMES)
def test_every_loop_of_an_endpoint_has_a_line_to_write(visitor: Client, name: str) -> None:
    log, _ = _ask(visitor, name)
    findings = find_nplusone(log)
    assert findings
    for finding in findings:
        assert finding.fix is not None or finding.use is not None, finding
        assert finding.origin is not None
        if finding.cause is not Cause.LOOKUP:
            assert finding.relation.count(".") == 1
    assert _without_loops(log, findings) == LEFT[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_written_into_the_views_keep_their_promise(visitor: Client, name: str) -> None:
    before, answer = _ask(visitor, name)
    findings = find_nplusone(before)
    fixes = tuple(fix for fix in fixes_of(findings) if "..." not in fix.code and fix.place)
    relations = tuple(
        fix
        for fix in fixes
        if "__in=" not in fix.code and ".values(" not in fix.code.split(".annotate(")[0]
    )
    with override_settings(ROOT_URLCONF=_urls(relations)):
        after, same_answer = _ask(visitor, name)
    assert same_answer == answer
    # The others need the line at the loop to be changed too: read the annotation, not the query.
    promised = sum(each.saves for each in findings if each.use is None and each.fix in relations)
    assert promised > 0
    assert after.count == before.count - promised
