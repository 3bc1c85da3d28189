"""The text for a pull request: what it says, that nothing of the project acts in it, its length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from django_querybudget.ratchet.difference import Difference
from django_querybudget.ratchet.lines import Key, Line, ShapeCount
from django_querybudget.ratchet.lockfile import LockFile
from django_querybudget.ratchet.loops import LoopCount
from django_querybudget.ratchet.markdown import MOST_CHARACTERS, WIDTH, code, markdown, marker
from django_querybudget.ratchet.versions import Version
from tests.ratchet.test_compare import NEW, OLD

pytestmark = pytest.mark.once

GITHUB = MarkdownIt("commonmark", {"html": True}).enable("table")


def text_of(old: LockFile, new: LockFile, name: str = "main (0a1b2c3d4e)") -> str:
    difference = Difference(
        Version(name=name, file=old), Version(name="querybudget.toml", file=new)
    )
    return markdown(difference, "querybudget.toml")


def test_a_table_of_all_that_differs_then_how_each_came_about() -> None:
    assert (
        text_of(OLD, NEW)
        == """\
<!-- django-querybudget: querybudget.toml -->
### Queries by view

`main (0a1b2c3d4e)` → `querybudget.toml`: \
**1 worse, 1 better, 1 of other queries, 1 new, 1 gone, 1 unchanged**

| | View or test | Queries | Rows | N+1 |
|---|---|---|---|---|
| worse | `worse` | 3 → 23 | 20 | 0 → 1 |
| better | `better` | 5 → 4 | ? | 0 |
| of other queries | `other` | 1 | ? | ? |
| new | `new` | 20 | ? | 1 |
| gone | `gone` | 2 | ? | 0 |

**`worse`** 3 → 23 queries, 0 → 20 queries that repeat a shape

- N+1: 0 → 20 queries `load Job.client row by row` at `jobs/views.py:66 in _job_row`
  - write at `jobs/views.py:40 in job_list`: `Job.objects.select_related("client")`

**`other`** as many queries as before

- 0 → 1 x `SELECT b`
- 1 → 0 x `SELECT a`

**`new`** new

- N+1: 20 queries `load Job.client row by row` at `jobs/views.py:66 in _job_row`
  - write at `jobs/views.py:40 in job_list`: `Job.objects.select_related("client")`
"""
    )


def test_nothing_differs() -> None:
    assert text_of(OLD, OLD) == (
        "<!-- django-querybudget: querybudget.toml -->\n### Queries by view\n\n"
        "`main (0a1b2c3d4e)` → `querybudget.toml`: **5 unchanged**\n"
    )
    assert "**no views and tests**" in text_of(LockFile(), LockFile())


def test_rows_have_a_column_where_they_are_recorded() -> None:
    with_none = LockFile(lines={Key("views", "a"): Line(queries=1)})
    more = LockFile(lines={Key("views", "a"): Line(queries=2)})
    assert "Rows" not in text_of(with_none, more)


def test_the_marker_is_a_comment_whatever_the_file_is_called() -> None:
    assert marker("backend/querybudget.toml") == (
        "<!-- django-querybudget: backend/querybudget.toml -->"
    )
    assert marker('a-->b"\n.toml') == "<!-- django-querybudget: a--%3Eb%22%0A.toml -->"
    assert len(marker("\U0001f40d" * 10_000)) < 3_000


HOSTILE = [
    "`a` | ``b`` <img src=x onerror=alert(1)> @someone #1 [a](javascript:b)\n\n# head\n```\n",
    "\\| a \\\\| b",
    "`",
    "```",
    " ` ",
    "|",
    "a\r\nb\u2028c\u202ed\x00e",
    "  ",
    "**bold** _it_ ![x](y) https://example.org <!-- --> &amp; - [ ] x",
    "$GITHUB_TOKEN ${{ secrets.X }} ::error::x",
]


def rendered_codes(text: str) -> list[str]:
    """Return what stands in code spans; fail where the text is anything else than it is to be."""
    codes: list[str] = []
    for token in GITHUB.parse(text):
        assert token.type not in ("fence", "code_block", "html_block") or (
            token.type == "html_block" and token.content.startswith("<!-- django-querybudget: ")
        ), token
        for each in token.children or ():
            assert each.type in ("text", "code_inline", "softbreak", "strong_open", "strong_close")
            if each.type == "code_inline":
                codes.append(each.content)
    return codes


def seen(text: str) -> str:
    """Return a name as it is to be seen."""
    return "".join(each if each.isprintable() else " " for each in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_the_project_acts(text: str) -> None:
    loop = LoopCount(queries=3, what=text, at=text, write=text, write_at=text, read=text)
    key = Key("views", text)
    old = LockFile(lines={key: Line(queries=1, rows=1, loops=())})
    line = Line(queries=3, rows=1, shapes=(ShapeCount(text, 3),), loops=(loop,))
    written = text_of(old, LockFile(lines={key: line}), name=text)
    codes = rendered_codes(written)
    if text.strip():
        # The version's name, the table's, the block's, the shape, five of the loop; and the file.
        assert [each.strip() for each in codes].count(seen(text).strip()) == 9
        assert len(codes) == 10
    rows = [token for token in GITHUB.parse(written) if token.type == "td_open"]
    assert len(rows) == 5


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_code_span_holds_any_text(text: str) -> None:
    (paragraph,) = (token for token in GITHUB.parse(f"x {code(text)} y") if token.children)
    table = f"|a|\n|---|\n| {code(text, in_table=True)} |\n"
    (cell,) = (token for token in GITHUB.parse(table)[9:] if token.children)
    for token in (paragraph, cell):
        found = [each.content for each in token.children if each.type == "code_inline"]
        if text.strip() and seen(text).strip():
            assert [each.strip() for each in found] == [seen(text).strip()]
        else:
            assert found == []


def test_it_is_short_enough_for_a_comment_whatever_comes() -> None:
    text = "`|" * 50_000
    loops = tuple(
        LoopCount(queries=3, what=f"{number}{text}", at=text, write=text, read=text)
        for number in range(40)
    )
    shapes = tuple(ShapeCount(f"{number}{text}", 3) for number in range(40))
    line = Line(queries=3, rows=1, shapes=shapes, loops=loops)
    lines = {Key("views", f"{number}{text}"): line for number in range(30)}
    written = text_of(LockFile(), LockFile(lines=lines), name=text)
    assert len(written) <= MOST_CHARACTERS
    assert "… and 30 more loops" in written
    plain = {
        Key("views", f"GET shop:view-{number} 2xx"): Line(queries=3) for number in range(5_000)
    }
    worse = {key: Line(queries=4, shapes=(ShapeCount("SELECT", 4),)) for key in plain}
    written = text_of(LockFile(lines=plain), LockFile(lines=worse))
    assert 0.9 * MOST_CHARACTERS < len(written) <= MOST_CHARACTERS
    assert written.count("\n… and ") == 2
    assert written.endswith(" more views and tests: `querybudget compare --json` has all.\n")
    rendered_codes(written)


def test_a_name_is_cut_and_a_line_to_write_is_not() -> None:
    name = "x" * 300
    assert code(name) == f"`{'x' * (WIDTH - 2)} …`"
    assert f"`{'y' * 300}`" in text_of(
        LockFile(),
        LockFile(lines={Key("views", "a"): Line(queries=1, loops=(_writes("y" * 300),))}),
    )


def _writes(text: str) -> LoopCount:
    return LoopCount(queries=3, what="x", write=text)


def test_what_costs_most_more_comes_first() -> None:
    old = LockFile(lines={Key("views", name): Line(queries=1) for name in "abc"})
    new = LockFile(lines={Key("views", name): Line(queries=n) for name, n in (("a", 2), ("b", 9))})
    table = [line for line in text_of(old, new).splitlines() if line.startswith("| ")][1:]
    assert [row.split("`")[1] for row in table] == ["b", "a", "c"]
