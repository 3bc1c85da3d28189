"""Whether an answer is the same where no two runs of the unpatched code answer alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from django_querybudget.patches import journal
from django_querybudget.patches.answers import Answer, Compared, aligned, compare_answers

PAGE = b"""\
200
Content-Type: text/html
Set-Cookie: sessionid=%(key)s

<ul>
<li>Ann, born in Bern</li>
<li>Bob, born in Rome</li>
<li>Eve, born in Oslo</li>
</ul>
<p>Last fed %(time)s ago</p>
<a href="/children">All children</a>
%(rest)s
"""


def page(time: bytes, key: bytes = b"k1", **replaced: bytes) -> bytes:
    """Return an answer; what is replaced is named by its words."""
    rest = b"\n".join(b"<hr class=c%d>" % number for number in range(40))
    data = PAGE % {b"time": time, b"key": key, b"rest": rest}
    for old, new in replaced.items():
        data = data.replace(old.encode(), new)
    return data


FIRST = page(b"59 seconds")
SECOND = page(b"1 minute, 2 seconds", b"q9")
WRONG = {
    "a row": page(b"1 minute", Bob=b"Ann"),
    "a row that is gone": page(b"1 minute").replace(b"<li>Bob, born in Rome</li>\n", b""),
    "rows in another order": page(b"1 minute", Bob=b"Ann", Ann=b"Bob"),
    "behind the place": page(b"1 minute", children=b"child"),
    "the status": page(b"1 minute").replace(b"200", b"500"),
    "a header": page(b"1 minute").replace(b"text/html", b"text/plain"),
    "a new header": page(b"1 minute").replace(b"Set-C", b"Location: /\nSet-C"),
    "rows at the place": page(b"59 seconds" + b"<li>Bob, born in Rome</li>\n" * 9),
}


def test_what_is_around_a_part_that_differs_by_itself_is_compared() -> None:
    right = page(b"1 hour, 1 minute, 3 seconds", b"z3")
    assert compare_answers(FIRST, [SECOND], right) == Compared(extent="part")
    assert compare_answers(FIRST, [SECOND], SECOND) == Compared(extent="whole")


@pytest.mark.parametrize("what", WRONG)
def test_an_answer_that_differs_beside_such_a_part_is_found(what: str) -> None:
    assert compare_answers(FIRST, [SECOND], WRONG[what]).text


@pytest.mark.parametrize("names", [(b"a", b"b", b"c"), (b"a", b"b or d", b"c")])
def test_rows_whose_order_is_chance_are_the_same_in_any_other(names: tuple[bytes, ...]) -> None:
    a, b, c = (b'{"name": "%s"},\n' % name for name in names)
    rest = b"".join(b"[%d],\n" % number for number in range(40))
    orders = (a + b + c, c + a + b, b + a + c)
    first, second, third = (b"200\n\n" + each + rest for each in orders)
    assert not compare_answers(first, [second], third).text
    assert compare_answers(first, [second], third).extent != "none"
    assert compare_answers(first, [second], third.replace(b'"a"', b'"c"')).text


def test_what_no_two_runs_have_in_common_is_not_called_the_same() -> None:
    first, second, third = (b"200\n\n" + each * 9 for each in (b"a b, ", b"c d e, ", b"f g h i, "))
    assert compare_answers(first, [second], third) == Compared(extent="none")


def test_what_all_runs_without_a_patch_agree_on_is_judged() -> None:
    more = page(b"59 seconds").replace(b"</ul>", b"<li>Zoe, born in Cork</li>\n</ul>")
    most = more.replace(b"</ul>", b"<li>Kim, born in Lima</li>\n</ul>")
    less = page(b"59 seconds").replace(b"<li>Bob, born in Rome</li>\n", b"")
    fewer = page(b"59 seconds").replace(b"<li>Ann, born in Bern</li>\n", b"")
    for others in ([more], [more, most], [more, fewer]):
        assert compare_answers(FIRST, others, less).text
    assert not compare_answers(less, [more, fewer], FIRST).text


def test_rows_that_the_clock_makes_are_no_difference_of_a_patch() -> None:
    """A minute later there is a row more, and all that was drawn behind it is another."""

    def listed(rows: int, drawn: str, key: int = 0) -> bytes:
        text = "".join(f"<td>{drawn}{number}</td>\n" for number in range(rows))
        return f"200\n\n<input value={key}>{text}{'<hr>' * 9}".encode()

    early, late, now = listed(5, "a"), listed(6, "b"), listed(8, "d")
    assert compare_answers(early, [late], now).extent == "none"
    # Two runs are like it: they tell what may differ.
    two = [listed(8, "d", 1), listed(8, "d", 2)]
    assert compare_answers(early, [late, *two], now) == Compared()
    wrong = now.replace(b"d3", b"d4").replace(b"d0", b"d3")
    found = compare_answers(early, [late, *two], wrong)
    assert (found.extent, found.is_moving) == ("whole", True)
    assert "a word differs" in found.text


def test_a_run_between_two_has_what_both_have() -> None:
    rows = [f"<li>row {number}, new</li>\n".encode() for number in range(9)]
    pages = [b"200\n\n" + b"".join(reversed(rows[: 4 + each])) for each in range(4)]
    assert compare_answers(pages[0], [pages[1], pages[3]], pages[2]) == Compared(extent="part")


def test_requests_are_paired_by_their_view_where_ids_are_in_their_paths() -> None:
    def asked(*ids: str) -> list[Answer]:
        return [Answer(f"GET /books/{each}", "", "GET book") for each in ids]

    assert aligned(asked("1", "2"), asked("1", "2")) == [0, 1]
    assert aligned(asked("1", "2", "1"), asked("2", "1", "1")) == [1, 0, 2]
    assert aligned(asked("a", "b"), asked("c", "d")) == [0, 1]
    assert aligned(asked("a"), asked("c", "d")) is None
    assert aligned([Answer("GET /a", "")], [Answer("GET /b", "")]) is None


@pytest.mark.parametrize(
    ("header", "same"),
    [
        ("Cache-Status", True), ("Server-Timing", True), ("X-Query-Count", True),
        ("Content-Language", False),
    ],
)  # fmt: skip
def test_a_header_that_differs_in_each_run_is_not_compared(
    header: str, same: bool, rf: RequestFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "bodies").mkdir()
    monkeypatch.setenv(journal.FOLDER_VARIABLE, str(tmp_path / "run"))
    for ttl in (60, 59):
        response: Any = HttpResponse("books")
        response.headers[header] = f"django-querybudget; hit; ttl={ttl}"
        response.wsgi_request = rf.get("/books/")
        journal._note_answer("test", "GET /books/", response, response.content)
    (file,) = (tmp_path / "run").iterdir()
    noted = {json.loads(line)["digest"] for line in file.read_text().splitlines()}
    assert (len(noted) == 1) is same
