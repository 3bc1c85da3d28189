"""Models and variables with a will of their own: nothing is asked of them, and nothing changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.utils.functional import SimpleLazyObject

from django_querybudget import capture_queries
from django_querybudget.nplusone import Finding, find_nplusone

from .data import fill
from .models import Author, Book, Guarded, Publisher, Setting, Tag

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _library(db: None) -> Iterator[None]:
    fill()
    Guarded.touched.clear()
    yield
    assert Guarded.touched == []


class Refusing:
    """A variable that answers to nothing at all."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("__eq__")

    def __bool__(self) -> bool:
        raise RuntimeError("__bool__")

    __hash__ = None  # type: ignore[assignment]


def _lazy() -> Any:
    raise RuntimeError("evaluated")


LAZY_SITE: Any = SimpleLazyObject(_lazy)


def relation() -> list[str]:
    return [each.publisher.name for each in Guarded.objects.all()]


def to_many() -> list[list[str]]:
    refusing, lazy = Refusing(), SimpleLazyObject(_lazy)
    found = [[book.title for book in each.books.all()] for each in Guarded.objects.all()]
    del refusing, lazy
    return found


def filtered() -> list[list[str]]:
    return [
        [book.title for book in each.books.filter(status="new")] for each in Guarded.objects.all()
    ]


def counted() -> list[int]:
    return [each.books.count() for each in Guarded.objects.all()]


def deferred() -> list[str]:
    return [each.name for each in Guarded.objects.only("publisher")]


def saved() -> int:
    for each in Guarded.objects.all():
        each.name = f"{each.name}!"
        each.save()
    return Author.objects.filter(name__endswith="!").count()


def created() -> int:
    for each in Guarded.objects.all():
        each.books.create(isbn=f"new {each.pk}")
    return Book.objects.count()


def looked_up() -> list[bool]:
    refusing = Refusing()
    found = [Book.objects.filter(author_id=each.pk).exists() for each in Guarded.objects.all()]
    del refusing
    return found


def behind() -> list[str]:
    return [each.publisher.city for each in Guarded.objects.select_related("mentor")]


def prefetched() -> list[int]:
    return [
        len(each.books.filter(status="new")) for each in Guarded.objects.prefetch_related("books")
    ]


def asked_by_a_property() -> list[str]:
    return [each.asking for each in Guarded.objects.all()]


def beside_a_lazy_name() -> list[str]:
    rows = Publisher.objects.filter(name__gt="") if LAZY_SITE is not None else LAZY_SITE.books.all()
    return [name for row in rows for author in row.authors.all() for name in [author.name]]


LOOPS = [
    relation,
    to_many,
    filtered,
    counted,
    deferred,
    saved,
    created,
    looked_up,
    behind,
    prefetched,
    asked_by_a_property,
    beside_a_lazy_name,
]


READING = [loop for loop in LOOPS if loop not in (saved, created)]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_model_is_never_asked(loop: Callable[[], Any]) -> None:
    with capture_queries() as log:
        answer = loop()
    with capture_queries() as searching:
        findings = find_nplusone(log)
    assert searching.count == 0
    assert findings
    assert all(finding.origin is not None for finding in findings)
    # Each was attributed: an exception on the way would have left a look-up of nothing.
    assert all(finding.relation for finding in findings)
    assert answer


@pytest.mark.parametrize("loop", READING, ids=lambda loop: loop.__name__)
def test_the_answer_is_the_same_without(loop: Callable[[], Any]) -> None:
    with capture_queries() as log:
        answer = loop()
    with override_settings(QUERYBUDGET={"NPLUSONE": "off"}), capture_queries() as unwatched:
        assert loop() == answer
    assert log.count == unwatched.count


class Money:
    """A parameter of the project's own type."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __conform__(self, protocol: object) -> int:
        return self.amount

    def __repr__(self) -> str:
        return Setting.objects.get(key="currency").value

    __str__ = __repr__


def test_a_parameter_is_not_shown_to_be_compared() -> None:
    with capture_queries() as log, connection.cursor() as cursor:
        for amount in range(4):
            cursor.execute("SELECT %s", [Money(amount)])
    with capture_queries() as searching:
        (finding,) = find_nplusone(log)
    assert (finding.count, searching.count) == (4, 0)


def test_an_aggregate_of_an_expression() -> None:
    from django.db.models import Count

    with capture_queries() as log:
        for tag in Tag.objects.all():
            assert tag.books.aggregate(total=Count("pk") + 1)["total"] > 1
    (finding,) = find_nplusone(log)
    assert (finding.relation, finding.operation, finding.fix) == ("Tag.books", "aggregate", None)


@pytest.mark.parametrize(
    "text",
    ["1" + "+1" * 20_000, "-" * 20_000 + "1", "a\0b", "{% for %}"],
    ids=["deep", "deeper", "null", "template"],
)
def test_a_file_that_is_no_python_is_not_read(text: str, findings_of: Any) -> None:
    """What compiles a language of its own to Python names its own file as the source."""
    code = "def run(books):\n    return [book.author.name for book in books]"
    (finding,) = findings_of(code, text)
    assert finding.relation == "Book.author"


DEEP = " + ".join(["''"] * 600)


@pytest.mark.parametrize(
    "loop",
    [
        "book.author.books.filter(title={deep}).count()",
        "book.author.books.filter(title={deep})[:2]",
        "Author.objects.get(name=book.author.name + {deep})",
        "Author.objects.filter(pk=book.author_id).exclude(name={deep}).count()",
        "Author.objects.filter(pk=book.author_id).order_by({deep} or 'pk').first()",
    ],
)
def test_an_expression_that_is_nested_too_deep_is_told_without(loop: str, findings_of: Any) -> None:
    code = f"def run(books):\n    for book in books:\n        list([{loop.format(deep=DEEP)}])"
    findings = findings_of(code, code)
    assert all(finding.count == 6 for finding in findings)
    assert findings


def test_where_the_start_of_a_queryset_is_too_deep_no_line_is_told(findings_of: Any) -> None:
    Book.objects.update(author=Author.objects.first())
    code = (
        "def run(books):\n"
        f"    for book in Author.objects.filter(name__gte={DEEP}).first().books.all():\n"
        "        list(book.tags.all())"
    )
    (finding,) = findings_of(code, code)
    assert (finding.relation, finding.count, finding.fix) == ("Book.tags", 6, None)


@pytest.fixture
def findings_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], Any]:
    """Run code over books, as a module whose file holds a text; return what is found."""

    def found(code: str, text: str) -> tuple[Finding, ...]:
        path = tmp_path / "generated.py"
        path.write_text(text)
        module: Any = ModuleType("generated_by_a_test")
        module.__file__ = str(path)
        module.Author = Author
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(code, path, "exec"), vars(module))  # noqa: S102 - as such a language does
        with capture_queries() as log:
            module.run(Book.objects.all())
        return find_nplusone(log)

    return found
