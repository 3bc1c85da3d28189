"""Every case of the corpus: what is found, where, and that the suggested line keeps its promise."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.db import connection, transaction
from django.db.models import QuerySet, prefetch_related_objects
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_querybudget import capture_queries
from django_querybudget.nplusone import Finding, find_nplusone
from django_querybudget.recording.records import QueryLog

from . import cases_all
from .corpus import CASES, RUN_NAMES, Case, Run, fixes_of
from .data import fill
from .models import Author, Book, Publisher, Shelf

FINDING = [case for case in CASES.values() if case.expected]
SILENT = [case for case in CASES.values() if not case.expected]


@pytest.fixture
def _library(db: None) -> Iterator[None]:
    fill()
    yield


def _run(case: Case, run: Run) -> QueryLog:
    """Run a case and undo what it wrote.

    It stands in a loop, as in a suite that visits page after page: that is never the one to blame.
    """
    call: Any = case.function
    if inspect.iscoroutinefunction(call):
        call = async_to_sync(call)
    with transaction.atomic():
        with capture_queries() as log:
            for each in (run,):
                call(each)
        transaction.set_rollback(True)
    return log


_FOUND: dict[str, tuple[Finding, ...]] = {}


def _found(case: Case) -> tuple[Finding, ...]:
    """Return what is found in a case, which this process looks for once."""
    if case.name not in _FOUND:
        _FOUND[case.name] = find_nplusone(_run(case, Run()))
    return _FOUND[case.name]


def _shown(findings: tuple[Finding, ...]) -> str:
    return "\n".join(map(str, findings))


KINDS = {
    "a forward foreign key": "forward_fk",
    "a reverse foreign key": "reverse_fk",
    "a one-to-one, forwards": "forward_one_to_one",
    "a one-to-one, backwards": "reverse_one_to_one",
    "many-to-many": "many_to_many",
    "many-to-many, from the other side": "many_to_many_from_the_other_side",
    "a generic foreign key": "generic_foreign_key",
    "a generic relation": "generic_relation",
    "a deferred field": "deferred_field",
    "only()": "only_leaves_out_a_field",
    "a multi-table parent": "deferred_field_of_a_parent_table",
    "a multi-table parent's child": "child_of_a_multi_table_parent",
    "a proxy model": "proxy_model",
    "nested three deep": "three_deep",
    "a property": "in_a_property",
    "a model's __init__": "deferred_field_read_in_init",
    "REST framework": "drf_nested_serializer",
    "REST framework, a method field": "drf_method_field",
    "ninja": "ninja_response",
    "a plain serializer": "plain_serializer",
    "Django's serializers": "django_serializer",
    "a template": "template_below_extends",
    "an included template": "template_through_include",
    "a template tag": "inclusion_tag",
    "values()": "loop_over_values",
    "count()": "count_loop",
    "exists()": "exists_loop",
    "first()": "first_loop",
    "filter()": "filter_loop",
    "aggregate()": "aggregate_loop",
    "a raw cursor": "raw_cursor_loop",
    "save()": "save_loop",
    "create()": "create_loop",
    "update_or_create()": "update_or_create_loop",
    "delete() with cascades": "delete_loop_with_cascades",
    "a many-to-many's add()": "add_to_many_to_many",
    "async for": "async_for_with_a_sync_read",
    "acount()": "async_count_loop",
    "aget()": "aget_loop",
    "gather()": "gather_of_one_coroutine",
    "gather() of the ORM's own": "gather_of_queries_alone",
    "below a prefetch with to_attr": "below_a_prefetch_with_to_attr",
    "below Prefetch(queryset=)": "below_a_prefetch_with_a_queryset",
    "prefetch_related_objects()": "prefetch_related_objects_one_by_one",
    "chunks of an iterator": "iterator_in_chunks",
    "two loops over one relation": "two_loops_over_one_relation",
    "a receiver": "receiver_that_looks_up",
    "a context processor": "context_processor",
    "a choice field": "model_choice_field",
    "a view of a class": "list_view_with_a_method",
    "a page": "page_of_a_paginator",
}
SILENT_KINDS = {
    "select_related()": "select_related_already_there",
    "prefetch_related()": "prefetch_already_there",
    "prefetch with to_attr": "prefetch_with_to_attr",
    "Prefetch(queryset=)": "prefetch_queryset_with_select_related",
    "prefetch_related_objects()": "prefetch_related_objects_at_once",
    "a helper that is called from several lines": "helper_called_from_unrelated_lines",
    "pages": "pages_by_offset",
    "pages after a key": "pages_after_the_last_key",
    "retries": "retries_of_one_query",
    "failed queries": "failed_tries",
    "savepoints": "savepoints",
    "batches of bulk_create()": "bulk_create_in_batches",
    "the last, shorter batch": "bulk_create_whose_last_batch_is_shorter",
    "batches of bulk_update()": "bulk_update_in_batches",
    "a list cut by hand": "chunks_cut_by_hand",
    "raw SQL, a list cut by hand": "raw_pieces",
    "chunks of an iterator that prefetches": "chunks_of_an_iterator_with_prefetch",
    "the same, async": "chunks_of_an_async_iterator",
    "sessions": "sessions_one_by_one",
    "permissions": "permissions_of_one_user",
    "content types": "content_types_of_models",
    "the allowlist": "allowed_by_relation",
    "a comment at the line": "ignored_at_the_line",
}


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) >= 60
    assert len(SILENT) >= 20


@pytest.mark.parametrize("kind", KINDS)
def test_the_corpus_has_a_loop_of_each_kind(kind: str) -> None:
    assert KINDS[kind] in {case.name for case in FINDING}


@pytest.mark.parametrize("kind", SILENT_KINDS)
def test_the_corpus_has_what_is_no_loop_of_each_kind(kind: str) -> None:
    assert SILENT_KINDS[kind] in {case.name for case in SILENT}


def test_every_module_of_cases_is_imported() -> None:
    files = set(Path(__file__).parent.glob("cases_*.py")) - {Path(cases_all.__file__)}
    assert {Path(str(module.__file__)) for module in cases_all.MODULES} == files
    assert {case.filename for case in CASES.values()} == set(map(str, files))


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", SILENT, ids=lambda case: case.name)
def test_nothing_is_found(case: Case) -> None:
    findings = find_nplusone(_run(case, Run()), allow=case.allow)
    assert findings == (), _shown(findings)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", FINDING, ids=lambda case: case.name)
def test_the_cause_is_found(case: Case) -> None:
    findings = _found(case)
    found = [
        (each.relation, each.cause, None if each.fix is None else each.fix.code, each.use)
        for each in findings
    ]
    expected = [(each.relation, each.cause, each.fix, each.use) for each in case.expected]
    assert sorted(found, key=repr) == sorted(expected, key=repr), _shown(findings)
    said = {(each.relation, each.cause): each for each in findings}
    for each in case.expected:
        told = said[each.relation, each.cause]
        assert each.operation in (None, told.operation)
        assert each.hint in (None, told.hint)
        assert each.replaces in (None, told.replaces)
        fix = told.fix
        assert each.note in (None, "" if fix is None else fix.note)
        assert not each.alone or (fix is not None and fix.alone)
        assert each.instead_of == (() if fix is None else fix.replaces)


@pytest.mark.once
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
    findings = _found(case)
    origins = [each.origin for each in findings if each.origin is not None]
    assert len(origins) == len(findings)
    assert {(each.filename, each.line) for each in origins} == case.to_blame, _shown(findings)
    if case.template:
        assert {each.template or each.serializer_field for each in origins} == set(case.template)
    places = [fix.place for fix in fixes_of(findings)]
    assert {(each.filename, each.line) for each in places if each} == (
        case.to_change if places else set()
    ), _shown(findings)


@pytest.mark.parametrize("case", FINDING, ids=lambda case: case.name)
def test_no_case_is_unproved(case: Case) -> None:
    """Its lines are marked, what it saves is measured, and what has no line has words."""
    assert case.to_blame
    lines = [each for each in case.expected if each.fix is not None or each.use is not None]
    assert (case.after is not None) == bool(lines)
    assert all(each in lines or each.hint for each in case.expected)


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
    left = [each.relation for each in case.expected if each.hint]
    assert [each.relation for each in find_nplusone(log)] == left


def _statement_at(filename: str, line: int) -> str:
    """Return the source of the innermost statement that a line is of, in one spelling."""
    tree = ast.parse(Path(filename).read_text())
    found: ast.AST = tree
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            found = node
    return ast.unparse(found)


@pytest.mark.once
@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", FINDING, ids=lambda case: case.name)
def test_no_advice_is_what_stands_there(case: Case) -> None:
    for finding in _found(case):
        assert finding.use is None or finding.use != finding.replaces
        fix = finding.fix
        if fix is None or fix.place is None or not fix.place.filename.endswith(".py"):
            continue
        try:
            code = ast.unparse(ast.parse(fix.code))
        except SyntaxError:  # It has a blank, which no source has.
            continue
        assert code not in _statement_at(fix.place.filename, fix.place.line)


# What a suggested text says by a name of the case's own.
VALUES = {"stars": 3, "status": "new", "_MOST_STARS": 3, "self.stars": 3}


def _blank(name: str) -> Any:
    """Return what may stand for a name of a suggested text that the project is to fill in."""
    for model in apps.get_app_config("corpus").get_models():
        if model._meta.model_name == name:
            return model._base_manager.order_by("pk")[0]
    if name in ("own", "rows", "books", "queryset"):
        return Book.objects.order_by("pk")
    rows: dict[str, Any] = {"p": Publisher, "s": Shelf, "self": Author}
    if name in rows:
        return rows[name]._base_manager.earliest("pk")
    return VALUES.get(name, [])


async def _execute(code: str, names: dict[str, Any]) -> None:
    compiled = compile(code, "<fix>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found = eval(compiled, names)  # noqa: S307 - the text under test
    if found is not None:
        await found


TEXTS = sorted(
    {(each.fix, case.name) for case in FINDING for each in case.expected if each.fix is not None}
)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize(("code", "name"), TEXTS, ids=[name for _, name in TEXTS])
def test_every_suggested_text_runs(code: str, name: str) -> None:
    """Each is executed, also where its case has no place for it: none may raise."""
    if code.startswith("<"):
        code = f"{code[1:].partition(' ')[0]}.everything{code[code.index('.') :]}"
    code = code.replace(".raw(...)", '.raw("SELECT * FROM corpus_book")')
    names = {**RUN_NAMES, "prefetch_related_objects": prefetch_related_objects}
    free = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    names.update({each: _blank(each) for each in free - names.keys() - set(dir(builtins))})
    with transaction.atomic():
        if "await " in code or "async for" in code:
            async_to_sync(_execute)(code, names)
        elif "\n" in code or isinstance(ast.parse(code).body[0], ast.Assign):
            exec(code, names)  # noqa: S102 - the text under test
        else:
            found = eval(code, names)  # noqa: S307 - as above
            assert not isinstance(found, QuerySet) or list(found) is not None
        transaction.set_rollback(True)
