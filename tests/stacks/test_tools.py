"""Other tools that watch queries beside us: not counted, and in nobody's way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from django_querybudget.stacks import files
from django_querybudget.stacks.tools import is_tools_own

PROGRAM = Path(__file__).parent / "tool_beside.py"
SILK = "/srv/venv/lib/python3.13/site-packages/silk/sql.py"
SENTRY = SILK.replace("silk/sql", "sentry_sdk/utils")
DJANGO_DB = str(Path(files._DJANGO) / "db" / "made_up.py")
SESSIONS = str(Path(files._DJANGO) / "contrib" / "sessions" / "made_up.py")
HANDLERS = str(Path(files._DJANGO) / "core" / "made_up.py")


def seen_beside(tool: str, place: str) -> Any:
    """Return, by address, what is reported of a request in a project that has the tool.

    The count, the origins, the suggested lines, the findings' text and the statements. The program
    fails unless the tool stands between each statement and the view.
    """
    done = subprocess.run(
        [sys.executable, PROGRAM, tool, place], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["errors"] == []
    return seen["answers"]


@pytest.fixture(scope="module")
def alone() -> Any:
    return seen_beside("none", "below")


def test_the_nested_serializer_is_one_line(alone: Any) -> None:
    count, _, fixes, *_ = alone["/users"]
    assert count == 19  # Four users, their groups, the groups' permissions, those's types.
    assert fixes == ['User.objects.prefetch_related("groups__permissions__content_type")']


@pytest.mark.parametrize(
    ("address", "places"),
    [("/rows", ["as_row", "rows"]), ("/async-rows", ["as_row_async", "async_rows"])],
)
def test_a_helpers_loop_is_the_projects(address: str, places: list[str], alone: Any) -> None:
    count, origins, fixes, *_ = alone[address]
    assert count == 5  # The users, and the groups of each of four.
    # Before Python 3.12 a comprehension is a function of its own.
    names = [
        origin.rpartition(" in ")[2].removesuffix(".<locals>.<listcomp>") for origin in origins
    ]
    assert names == places
    assert fixes == ['User.objects.prefetch_related("groups")']


def test_a_query_of_no_line_of_the_projects_is_its_senders(alone: Any) -> None:
    _, (package,), *_ = alone["/mine"]
    assert package.endswith(" in TokenAuthentication.authenticate_credentials")
    assert alone["/visit"][1][0] == "None"  # The session is saved by Django's middleware.


@pytest.mark.parametrize(
    ("tool", "place"),
    [
        ("silk", "above"),
        ("silk", "below"),
        ("debug_toolbar", "above"),
        ("debug_toolbar", "below"),
        # These put themselves where they want to be.
        ("sentry", "below"),
        ("opentelemetry", "below"),
    ],
)
def test_a_tool_beside_us_changes_nothing(tool: str, place: str, alone: Any) -> None:
    assert seen_beside(tool, place) == alone


def called(*frames: tuple[str, str]) -> bool:
    """Whether a query is a tool's own that is sent through these functions, the outermost first."""
    names: dict[str, Any] = {"inner": lambda: is_tools_own(sys._getframe(1))}
    for filename, name in reversed(frames):
        code = f"def {name}(inner=inner):\n    return inner()"
        exec(compile(code, filename, "exec"), names)  # noqa: S102 - the test's own
        names["inner"] = names[name]
    return bool(names["inner"]())


@pytest.mark.parametrize(
    ("frames", "own"),
    [
        # Its own rows and EXPLAINs: the tool is what calls the ORM, or the cursor.
        ([(SILK, "store"), (DJANGO_DB, "create"), (DJANGO_DB, "save")], True),
        ([(SILK, "explain_query")], True),
        ([(DJANGO_DB, "get"), (SILK, "execute_sql"), (SILK, "explain_query")], True),
        # A model of the tool's that has a save() of its own; the project calls the tool.
        ([(SILK, "store"), (SILK, "save"), (DJANGO_DB, "save")], True),
        ([(HANDLERS, "get"), (SILK, "__call__"), (SILK, "save"), (DJANGO_DB, "save")], True),
        # It looks into the session, which is loaded for that; or Django's middleware saves it.
        (
            [(SILK, "stats"), (SESSIONS, "keys"), (SESSIONS, "load"), (DJANGO_DB, "get")],
            True,
        ),
        ([(SILK, "__call__"), (HANDLERS, "get"), (SESSIONS, "save"), (DJANGO_DB, "save")], False),
        # It wraps another's, by the name of what it wraps.
        ([(DJANGO_DB, "get"), (SILK, "execute_sql"), (DJANGO_DB, "execute_sql")], False),
        ([(DJANGO_DB, "get"), (SILK, "execute"), (SILK, "record")], False),
        # One that only wraps is never the sender, whatever its functions' names are.
        ([(DJANGO_DB, "get"), (SENTRY, "runner"), (SENTRY, "execute")], False),
        ([(HANDLERS, "get"), (SENTRY, "patched"), (DJANGO_DB, "get")], False),
        # It wraps a view, a middleware, a template: the query is theirs.
        ([(SILK, "wrapper"), (HANDLERS, "view"), (DJANGO_DB, "get")], False),
        ([(DJANGO_DB, "get")], False),
    ],
)
def test_whose_query_it_is(frames: list[tuple[str, str]], own: bool) -> None:
    assert called(*frames) is own
