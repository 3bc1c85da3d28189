"""Where a line becomes too long it is broken as black and ruff break it."""

from __future__ import annotations

import ast

import pytest

from django_querybudget.patches.edits import Edit
from django_querybudget.patches.rendering import patched
from django_querybudget.patches.source_text import SourceText

BY_PROJECT = 'order_by(Lower("project__name"))'
CASES = {
    "before the last method": (
        f'ctx["memberships"] = request.user.memberships.{BY_PROJECT}',
        "request.user.memberships",
        """\
ctx["memberships"] = request.user.memberships.select_related("project").order_by(
    Lower("project__name")
)""",
    ),
    "the last method itself": (
        "found = Book.objects.all_books_that_are_in_this_shop_and_more()",
        "Book.objects.all_books_that_are_in_this_shop_and_more()",
        """\
found = Book.objects.all_books_that_are_in_this_shop_and_more().select_related(
    "project"
)""",
    ),
    "returned, behind no call": (
        "return self.the_queryset_of_all_that_there_is_in_it_and_more",
        "self.the_queryset_of_all_that_there_is_in_it_and_more",
        """\
return self.the_queryset_of_all_that_there_is_in_it_and_more.select_related(
    "project"
)""",
    ),
    "several methods": (
        'found = Book.objects.filter(status="shown", author=author).order_by("pk")',
        'Book.objects.filter(status="shown", author=author)',
        """\
found = (
    Book.objects.filter(status="shown", author=author)
    .select_related("project")
    .order_by("pk")
)""",
    ),
    "broken in the last call before": (
        """\
instances = DiaperChange.objects.filter(time__range=(min_date, max_date)).order_by(
    "-time"
)""",
        "DiaperChange.objects",
        """\
instances = (
    DiaperChange.objects.select_related("project")
    .filter(time__range=(min_date, max_date))
    .order_by("-time")
)""",
    ),
    "with a comma at its end, which a person wrote": (
        """\
instances = DiaperChange.objects.filter(time__range=(min_date, max_date)).order_by(
    "-time",
)""",
        "DiaperChange.objects",
        """\
instances = DiaperChange.objects.select_related("project").filter(time__range=(min_date, \
max_date)).order_by(
    "-time",
)""",
    ),
    "one that fits": (
        "found = Book.objects.all()",
        "Book.objects.all()",
        'found = Book.objects.all().select_related("project")',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_line_that_becomes_too_long_is_broken_as_formatters_do(case: str) -> None:
    line, chain, expected = CASES[case]
    line = line.replace("\n", "\n    ")
    before = f"def view(ctx):\n    {line}\n"
    source = SourceText(before.encode())
    end = before.index(chain) + len(chain)
    edit = Edit("views.py", end, end, calls=('.select_related("project")',))
    found = patched(source, [edit], 80 if case == "several methods" else 88)
    lines = expected.replace("\n", "\n    ")
    assert found == f"def view(ctx):\n    {lines}\n"
    ast.parse(found)
