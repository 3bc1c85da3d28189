"""What becomes of an N+1: the settings, the errors, the signal, the text."""

from __future__ import annotations

import ast
import logging
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import DatabaseError, connection, transaction
from django.template import Context, Engine
from django.test import Client, override_settings

from django_querybudget import NPlusOneError, QueryBudgetExceeded, capture_queries, query_budget
from django_querybudget.checks import check_nplusone_allow
from django_querybudget.exceptions import NPlusOneWarning
from django_querybudget.nplusone import Cause, Finding, find_nplusone
from django_querybudget.nplusone.layout import WIDTH, laid_out
from django_querybudget.nplusone.rendering import render_findings
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.reports import QueryReport, enforcement
from django_querybudget.signals import nplusone_found, queries_measured
from django_querybudget.testing import assert_max_queries

from . import cases_all  # noqa: F401 - registers the cases
from .corpus import CASES
from .data import fill
from .models import Book, Tag

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.nplusone.urls")]


@pytest.fixture(autouse=True)
def _library(db: None) -> None:
    fill()


def setting(**values: Any) -> override_settings:
    return override_settings(QUERYBUDGET=values)


def read_authors() -> None:
    for book in Book.objects.all():
        assert book.author.name


def test_by_default_it_is_logged_once(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="django_querybudget"):
        assert client.get("/naive").status_code == 200
        assert client.get("/clean").status_code == 200
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith("GET naive: 7 queries")
    assert "6 queries load Book.author row by row" in text
    assert 'Book.objects.select_related("author")' in text
    assert "(saves 6 queries)" in text


def test_in_production_no_visitor_pays_for_it_unasked(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enforcement, "in_tests", lambda: False)
    reports: list[QueryReport] = []

    def listen(report: QueryReport, **kwargs: Any) -> None:
        reports.append(report)

    queries_measured.connect(listen)
    client.get("/naive")
    with setting(NPLUSONE="log"):
        client.get("/naive")
    queries_measured.disconnect(listen)
    assert [report.log.evidence is None for report in reports] == [True, False]
    assert caplog.text.count("row by row") == 1


def test_raise(client: Client) -> None:
    with setting(NPLUSONE="raise"), pytest.raises(NPlusOneError) as raised:
        client.get("/naive")
    report = raised.value.report
    assert isinstance(report, QueryReport)
    assert [finding.relation for finding in report.findings] == ["Book.author"]
    assert str(raised.value).startswith("GET naive: N+1 queries")
    with setting(NPLUSONE="raise"):
        assert client.get("/clean").status_code == 200


def test_an_error_is_not_replaced(client: Client) -> None:
    with setting(NPLUSONE="raise"):
        assert client.get("/failing").status_code == 500


def test_a_stream_is_reported_at_its_end(client: Client) -> None:
    with setting(NPLUSONE="raise"), pytest.raises(NPlusOneError, match=r"Book\.author"):
        b"".join(client.get("/streamed"))  # type: ignore[arg-type]


def test_warn(client: Client) -> None:
    with setting(NPLUSONE="warn"), pytest.warns(NPlusOneWarning, match=r"Book\.author"):
        client.get("/naive")


def test_off_reads_no_stack(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with setting(NPLUSONE="off"), caplog.at_level(logging.WARNING, logger="django_querybudget"):
        client.get("/naive")
    assert caplog.records == []


def test_the_signal_is_sent_where_there_is_something_to_say(client: Client) -> None:
    heard: list[Any] = []

    def hear(sender: Any, **values: Any) -> None:
        heard.append((sender, values["report"].name, [each.count for each in values["findings"]]))

    nplusone_found.connect(hear)
    try:
        client.get("/clean")
        client.get("/naive")
    finally:
        nplusone_found.disconnect(hear)
    assert heard == [(QueryReport, "GET naive", [6])]


def test_the_threshold_of_a_budget_is_its_own(client: Client) -> None:
    assert client.get("/budgeted").status_code == 200  # Six repeats, seven are too many.
    with (
        pytest.raises(NPlusOneError, match=r"Book\.author"),
        query_budget(nplusone=6, on_exceed="raise"),
    ):
        read_authors()


def test_a_threshold_below_the_settings() -> None:
    def two() -> None:
        for book in Book.objects.all()[:2]:
            assert book.author.name

    with pytest.raises(NPlusOneError), assert_max_queries(10, nplusone=2):
        two()
    with assert_max_queries(10):
        two()


def test_a_budgets_failure_names_the_cause() -> None:
    with pytest.raises(QueryBudgetExceeded) as raised, assert_max_queries(1):
        read_authors()
    assert "N+1 queries:" in str(raised.value)
    assert 'Book.objects.select_related("author")' in str(raised.value)


@pytest.mark.parametrize("value", [1, "3", True, 0, None])
def test_a_bad_threshold_of_a_budget(value: Any) -> None:
    if value is None:
        with pytest.raises(TypeError, match="nplusone"):
            query_budget(nplusone=value)
    else:
        with pytest.raises(ValueError, match="nplusone is"):
            query_budget(nplusone=value)


def test_the_settings_threshold() -> None:
    with setting(NPLUSONE_THRESHOLD=7), capture_queries() as log:
        read_authors()
        assert find_nplusone(log) == ()
    with capture_queries() as log:
        read_authors()
    assert len(find_nplusone(log)) == 1
    assert find_nplusone(log, threshold=7) == ()


def test_the_settings_allowlist() -> None:
    with capture_queries() as log:
        read_authors()
    with setting(NPLUSONE_ALLOW=["corpus.Book.*"]):
        assert find_nplusone(log) == ()
    with setting(NPLUSONE_ALLOW=["corpus.Tag.*", "*/elsewhere.py"]):
        assert len(find_nplusone(log)) == 1


@pytest.mark.parametrize(
    ("pattern", "accepted"),
    [
        ("*/nplusone/test_reactions.py", True),
        ("*/nplusone/*.py", True),
        ("test_reactions.py", True),
        ("nplusone/test_reactions.py", True),
        ("*/nplusone/test_corpus.py", False),
        ("nplusone/", False),
        ("reactions.py", False),
    ],
)
def test_the_settings_allowlist_of_files(pattern: str, accepted: bool) -> None:
    with capture_queries() as log:
        read_authors()
    with setting(NPLUSONE_ALLOW=[pattern]):
        assert (find_nplusone(log) == ()) is accepted


def test_a_file_that_is_allowed_raises_nothing(client: Client) -> None:
    with setting(NPLUSONE="raise", NPLUSONE_ALLOW=["*/nplusone/urls.py"]):
        assert client.get("/naive").status_code == 200
    with (
        setting(NPLUSONE="raise", NPLUSONE_ALLOW=["*/nplusone/models.py"]),
        pytest.raises(NPlusOneError),
    ):
        client.get("/naive")


@pytest.mark.parametrize(
    "values",
    [{"NPLUSONE": "shout"}, {"NPLUSONE_THRESHOLD": 1}, {"NPLUSONE_ALLOW": "Book.author"}],
)
def test_bad_settings_are_reported(values: dict[str, Any]) -> None:
    with setting(**values):
        (message,) = run_checks(tags=["querybudget"])
    assert message.id == "querybudget.E001"
    assert next(iter(values)) in message.msg


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(NPlusOneError("six", report=None)))  # noqa: S301 - of our own making
    assert str(error) == "six"


def test_a_log_without_stacks_is_searched_too() -> None:
    with setting(NPLUSONE="off"), capture_queries() as log:
        read_authors()
    assert log.evidence is None
    (finding,) = find_nplusone(log, threshold=3)
    assert (finding.relation, finding.count, finding.fix) == ("", 6, None)
    assert find_nplusone(QueryLog()) == ()


def test_lazy_objects_are_left_alone() -> None:
    from django.utils.functional import SimpleLazyObject

    evaluated = []

    def tag() -> Tag:
        evaluated.append(1)
        return Tag()

    lazy = SimpleLazyObject(tag)
    queryset = Book.objects.order_by("pk")
    with capture_queries() as log:
        read_authors()
    assert len(find_nplusone(log)) == 1
    assert evaluated == []
    assert queryset._result_cache is None  # type: ignore[attr-defined]
    del lazy


def rendered(function: Callable[[], object]) -> str:
    with capture_queries() as log:
        function()
    return "\n".join(render_findings(find_nplusone(log)))


def look_up() -> None:
    for key in list(Tag.objects.values_list("pk", flat=True)):
        Tag.objects.get(pk=key)


def save() -> None:
    for number in range(4):
        Tag(name=f"new {number}").save()


def test_the_text_says_on_which_side_of_the_loop_a_statement_stands() -> None:
    assert "      Write, before the loop at " in rendered(look_up)
    assert "      Write, instead of the loop at " in rendered(save)
    assert "      Write, at " in rendered(read_authors)


@pytest.mark.parametrize("given", [None, [], "log"])
def test_only_a_log_is_searched(given: Any) -> None:
    with pytest.raises(TypeError, match="takes the log of capture_queries"):
        find_nplusone(given)


def test_requests_of_one_capture_are_no_loop(client: Client) -> None:
    with capture_queries() as log:
        for number in range(6):
            assert client.get("/one", {"key": f"key-{number}"}).status_code == 200
    assert log.count == 6
    assert find_nplusone(log) == ()


def test_the_same_loop_of_two_requests_is_one_finding(client: Client) -> None:
    with capture_queries() as log:
        for _ in range(2):
            client.get("/naive")
    (finding,) = find_nplusone(log)
    assert (finding.count, finding.saves, log.count) == (12, 12, 14)


def test_a_lock_for_each_key_is_no_loop() -> None:
    with capture_queries() as log:
        for key in range(4):
            with connection.cursor() as cursor, suppress(DatabaseError), transaction.atomic():
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [key])
    records = [raw._replace(error=None) for raw in log.raw]
    locked = QueryLog()
    for raw in records:
        locked.append(raw)
    assert find_nplusone(locked) == ()
    assert find_nplusone(_asked_otherwise(records)) != ()


def _asked_otherwise(records: list[RawRecord]) -> QueryLog:
    log = QueryLog()
    for raw in records:
        log.append(raw._replace(sql=raw.sql.replace("pg_advisory_xact_lock", "upper")))
    return log


def a_statement_of_several_lines() -> list[str]:
    return [
        f"{book.author.name}, who wrote the book that is called {book.title} and no other one"
        for book in Book.objects.all()
    ]  # querybudget: ignore[six rows at most]


def a_comment_without_a_reason() -> None:
    for book in Book.objects.all():
        assert book.author.name  # querybudget: ignore


def a_comment_at_the_def() -> None:  # querybudget: ignore[six rows at most]
    for book in Book.objects.all():
        assert book.author.name


def test_a_comment_at_any_line_of_a_statement_accepts_it() -> None:
    with capture_queries() as log:
        a_statement_of_several_lines()
    assert log.count == 7
    assert find_nplusone(log) == ()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (a_comment_without_a_reason, "has no effect without a reason: ignore[why]."),
        (a_comment_at_the_def, "has no effect on a function: write it at line "),
    ],
)
def test_a_comment_that_does_nothing_is_named(function: Callable[[], object], said: str) -> None:
    assert said in rendered(function)
    assert "has no effect" not in rendered(read_authors)


def test_a_comment_of_a_template_that_does_nothing_is_named(tmp_path: Path) -> None:
    comment = "{# querybudget: " + "ignore #}"  # In two, or it would be this line's.
    source = f"{{% for book in books %}}\n{{{{ book.author.name }}}} {comment}\n{{% endfor %}}"
    (tmp_path / "rows.html").write_text(source)
    template = Engine(dirs=[tmp_path]).get_template("rows.html")
    text = rendered(lambda: template.render(Context({"books": Book.objects.all()})))
    assert "The comment at line 2 has no effect without a reason: ignore[why]." in text


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("Book.autor", "Did you mean 'Book.author'? "),
        ("corpus.Boook.*", ""),
        ("jobs.Book.author", "Did you mean "),
    ],
)
def test_a_pattern_that_matches_no_relation_is_reported(pattern: str, hint: str) -> None:
    with setting(NPLUSONE_ALLOW=[pattern]):
        (message,) = check_nplusone_allow()
    assert message.id == "querybudget.W003"
    assert repr(pattern) in message.msg
    assert str(message.hint).startswith(hint)


@pytest.mark.parametrize(
    "pattern",
    ["Book.author", "corpus.Book.*", "Author.books", "Book", "Comment.about", "*/jobs/*", "a.py"],
)
def test_a_pattern_that_matches_is_not(pattern: str) -> None:
    with setting(NPLUSONE_ALLOW=[pattern]):
        assert check_nplusone_allow() == []


def _found(number: int, **more: Any) -> Finding:
    values: dict[str, Any] = {
        "cause": Cause.LOOKUP,
        "relation": "Book",
        "operation": "get",
        "origin": None,
        "count": number,
        "saves": 0,
        "fix": None,
        "use": None,
        "alias": "default",
        "fingerprint": f"SELECT {number}",
    }
    return Finding(**{**values, **more})


def test_a_report_is_bounded_whatever_is_found() -> None:
    lines = render_findings([_found(number) for number in range(1, 5001)])
    assert len("\n".join(lines)) < 10_000
    assert lines[-1] == (
        f"  … and 4950 more loops of {sum(range(1, 4951))} queries: see find_nplusone(log)."
    )
    assert "  5000 queries repeat one query of Book" in lines


def test_loops_of_packages_are_one_line() -> None:
    findings = [_found(number, package="treebeard") for number in range(3, 13)]
    own = _found(4)
    assert render_findings([*findings, own])[-1] == (
        "  75 queries in 10 loops that only installed packages run: treebeard"
    )
    assert sum("repeat one query" in line for line in render_findings([*findings, own])) == 1


_LONG = (
    'Book.objects.select_related("author__publisher").prefetch_related(Prefetch("reviews", '
    'queryset=Review.objects.filter(stars=3).order_by("-stars"), to_attr="chosen_reviews"), '
    '"tags").annotate(tags_count=Count("tags", distinct=True))'
)


def test_a_long_line_is_laid_out_one_call_a_line() -> None:
    assert laid_out(_LONG) == [
        "(",
        "    Book.objects",
        '    .select_related("author__publisher")',
        "    .prefetch_related(",
        "        Prefetch(",
        '            "reviews",',
        '            queryset=Review.objects.filter(stars=3).order_by("-stars"),',
        '            to_attr="chosen_reviews",',
        "        ),",
        '        "tags",',
        "    )",
        '    .annotate(tags_count=Count("tags", distinct=True))',
        ")",
    ]
    assert laid_out('Book.objects.prefetch_related("tags")') == [
        'Book.objects.prefetch_related("tags")'
    ]
    blank = f"<book>{'.tags' * 40}"
    assert laid_out(blank) == [blank]


def test_what_is_laid_out_is_the_same_code() -> None:
    codes = [
        code
        for case in CASES.values()
        for each in case.expected
        for code in (each.fix, each.use)
        if code is not None and "<" not in code and not code.startswith("for ")
        if not code.endswith(".0")  # A template's.
    ]
    assert len(codes) > 150
    for code in codes:
        text = [line for line in laid_out(code) if not line.startswith("#")]
        assert ast.dump(ast.parse("\n".join(text))) == ast.dump(ast.parse(code))
        assert max(map(len, text)) <= WIDTH, text


def count_tags() -> None:
    for book in Book.objects.all():
        assert book.tags.count()


def _tag_named(key: int) -> str:
    return Tag.objects.get(pk=key).name


def look_up_in_a_helper() -> None:
    for key in list(Tag.objects.values_list("pk", flat=True)):
        assert _tag_named(key)


def test_the_imports_that_the_module_lacks_are_told() -> None:
    with capture_queries() as log:
        count_tags()
    (finding,) = find_nplusone(log)
    assert finding.fix is not None
    assert finding.fix.imports == ("from django.db.models import Count",)
    exec(finding.fix.imports[0], {})  # noqa: S102 - it is there to be imported
    assert "        from django.db.models import Count\n" in rendered(count_tags)
    assert "import" not in rendered(read_authors)


def count_tags_with_a_local_import() -> None:
    from django.db.models import Count

    assert Count
    for book in Book.objects.all():
        assert book.tags.count()


def test_what_the_function_imports_is_not_told_again() -> None:
    text = rendered(count_tags_with_a_local_import)
    assert "annotate(tags_count=Count(" in text
    assert "        from django.db.models import" not in text


def test_a_helper_is_to_be_handed_what_was_asked_for_before_the_loop() -> None:
    text = rendered(look_up_in_a_helper)
    assert "        Tag.objects.in_bulk(ids)\n" in text
    assert text.endswith("and hand it to _tag_named() as an argument, or by an attribute")
    assert "hand it" not in rendered(look_up)
