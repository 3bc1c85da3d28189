"""The panel of django-debug-toolbar, through its middleware and its store, under WSGI and ASGI."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "toolbar_project.py"


@pytest.fixture(scope="module")
def seen() -> Any:
    """What one process of such a project shows: see the program."""
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # One panel that fails, on purpose, and a page that is not there.
    assert done.stderr.count("Traceback") == 1
    assert "could not fill its panel" in done.stderr
    return found


def test_it_shows_count_budget_cause_and_lines(seen: Any) -> None:
    ours = seen["loop"]["ours"]
    assert ours["summary"].startswith("5 queries in ")
    assert ours["summary"].endswith(" ms, 1 N+1 loop, over budget")
    assert ours["headline"] == "GET loop: 5 queries executed, budget is 3"
    (groups, users) = ours["shapes"]
    assert (groups["count"], users["count"]) == (4, 1)
    assert groups["sql"].startswith("SELECT … FROM auth_group INNER JOIN auth_user_groups")
    (line,) = groups["origins"]
    assert line["line"].endswith(" in loop")
    html = seen["loop"]["fetched"]
    assert "<td>4</td>" in html
    assert "User.objects.prefetch_related(&quot;groups&quot;)" in html
    assert "tests/contrib/toolbar_project.py:" in html


def test_it_stands_in_the_page_as_well(seen: Any) -> None:
    html = seen["inline"]["html"]
    assert "User.objects.prefetch_related(&quot;groups&quot;)" in html
    assert "5 queries in" in html
    assert html.endswith("</body></html>")


@pytest.mark.parametrize("name", ["loop", "evil", "missing"])
def test_it_counts_what_its_neighbour_does_and_not_what_the_toolbar_asks(
    name: str, seen: Any
) -> None:
    """The toolbar's store is in the same database."""
    assert seen[name]["ours"]["count"] == seen[name]["its"]


def test_nothing_is_mixed_under_asgi(seen: Any) -> None:
    assert len(seen["async"]) == 21
    for path, count, counted in seen["async"]:
        assert (path, counted) == (path, count)


def test_everything_is_escaped_and_values_are_not_shown_unasked(seen: Any) -> None:
    for name in ("evil", "parameters"):
        assert "<script" not in seen[name]["fetched"]
        assert "&lt;script&gt;" in seen[name]["fetched"]
        assert "<b>" not in seen[name]["fetched"]
    assert "s3cret" not in seen["evil"]["fetched"]
    assert "s3cret" not in json.dumps(seen["evil"]["ours"])
    assert "s3cret&lt;b&gt;" in seen["parameters"]["fetched"]


def test_a_defect_of_ours_costs_the_panel_and_no_page(seen: Any) -> None:
    assert seen["broken"]["status"] == 200
    assert "was not measured" in seen["broken"]["fetched"]
