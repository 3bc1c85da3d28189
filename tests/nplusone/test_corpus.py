"""Every case of the corpus: what is found, where, and that the suggested line keeps its promise."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_querybudget import capture_queries
from django_querybudget.nplusone import Finding, find_nplusone
from django_querybudget.records import QueryLog

from .cases_all import MODULES
from .corpus import CASES, Case, Run, fixes_of
from .data import fill

FINDING = [case for case in CASES.values() if case.expected]
SILENT = [case for case in CASES.values() if not case.expected]


@pytest.fixture
def _library(db: None) -> Iterator[None]:
    fill()
    yield


def _run(case: Case, run: Run) -> QueryLog:
    """Run a case and undo what it wrote."""
    call: Any = case.function
    if inspect.iscoroutinefunction(call):
        call = async_to_sync(call)
    with transaction.atomic():
        with capture_queries() as log:
            call(run)
        transaction.set_rollback(True)
    return log


def _shown(findings: tuple[Finding, ...]) -> str:
    return "\n".join(map(str, findings))


def test_the_corpus_is_large_enough() -> None:
    assert len(MODULES) == 11
    assert len(CASES) >= 60
    assert len(SILENT) >= 20


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", SILENT, ids=lambda case: case.name)
def test_nothing_is_found(case: Case) -> None:
    findings = find_nplusone(_run(case, Run()), allow=case.allow)
    assert findings == (), _shown(findings)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", FINDING, ids=lambda case: case.name)
def test_the_cause_is_found(case: Case) -> None:
    findings = find_nplusone(_run(case, Run()))
    found = [
        (each.relation, each.cause, None if each.fix is None else each.fix.code, each.use)
        for each in findings
    ]
    expected = [(each.relation, each.cause, each.fix, each.use) for each in case.expected]
    assert sorted(found, key=repr) == sorted(expected, key=repr), _shown(findings)
    said = {each.relation: each for each in findings}
    for each in case.expected:
        assert each.operation in (None, said[each.relation].operation)
        assert each.replaces in (None, said[each.relation].replaces)
        fix = said[each.relation].fix
        assert each.instead_of == (() if fix is None else fix.replaces)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_reading_the_stack_runs_no_query(case: Case) -> None:
    with CaptureQueriesContext(connection) as watched, transaction.atomic():
        log = _run(case, Run())
        transaction.set_rollback(True)
    with (
        CaptureQueriesContext(connection) as unwatched,
        override_settings(QUERYBUDGET={"NPLUSONE": "off"}),
        transaction.atomic(),
    ):
        without = _run(case, Run())
        transaction.set_rollback(True)
    assert without.evidence is None
    assert len(watched) == len(unwatched)
    assert log.count == without.count


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", FINDING, ids=lambda case: case.name)
def test_the_lines_are_right(case: Case) -> None:
    findings = find_nplusone(_run(case, Run()))
    origins = [each.origin for each in findings]
    assert all(origin is not None for origin in origins)
    if marked := case.lines(case.blamed):
        assert {origin.line for origin in origins if origin is not None} == marked
        assert {origin.filename for origin in origins if origin is not None} == {case.filename}
    if case.template is not None:
        assert {origin.template or origin.serializer_field for origin in origins if origin} == {
            case.template
        }
    roots = case.lines("root")
    places = {fix.place.line for fix in fixes_of(findings) if fix.place is not None and fix.built}
    if roots:
        assert places == roots, _shown(findings)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize(
    "case", [case for case in FINDING if case.after is not None], ids=lambda case: case.name
)
def test_the_suggested_line_saves_what_it_promises(case: Case) -> None:
    before = _run(case, Run())
    findings = find_nplusone(before)
    promised = sum(each.saves for each in findings)
    log = _run(case, Run(fixes_of(findings), True))
    assert log.count == case.after, [query.sql for query in log]
    assert log.count == before.count - promised
    assert find_nplusone(log) == ()
