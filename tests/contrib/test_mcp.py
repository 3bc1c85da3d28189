"""The tools for coding agents, by the official client, over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

import django_querybudget
from django_querybudget.contrib import mcp
from django_querybudget.explaining.judging import judged
from django_querybudget.nplusone.plain import finding_id
from django_querybudget.ratchet import last_fix, last_run
from django_querybudget.ratchet.details import Details
from django_querybudget.ratchet.last_run import LastRun
from django_querybudget.ratchet.lines import Key, Line
from tests.ratchet.project import Project

FIX = {
    "code": 'Job.objects.select_related("client")', "place": "host/urls.py:12", "where": "at",
    "built": True, "imports": [], "note": "", "replaces": [],
}  # fmt: skip
FINDING: dict[str, Any] = {
    "cause": "relation", "relation": "Job.client", "operation": "get", "place": "host/urls.py:12",
    "template": None, "function": "first", "queries": 6, "saves": 6, "use": None, "replaces": None,
    "hint": "", "database": "default", "shape": "SELECT … FROM client", "table": "client",
    "fix": FIX, "text": ["  6 queries load Job.client row by row"],
}  # fmt: skip
NAME = finding_id(FINDING, "client")


def leave(folder: Path) -> None:
    """Leave a test run in which ``first`` executed 7 queries, ``second`` 2."""
    lines = {
        Key("views", "GET first 2xx"): Line(queries=7, similar=5),
        Key("views", "GET second 2xx"): Line(queries=2),
    }
    tables = {"django_content_type"}
    details = {
        "GET first": Details(tables=tables, causes=True, findings=[FINDING]),
        "GET second": Details(tables=tables, causes=True),
    }
    path = last_run.path_beside(folder / "querybudget.toml")
    last_run.write(path, LastRun.of(lines, details, run="pytest .", passed=True))


PATCH = "--- a/host/urls.py\n+++ b/host/urls.py\n@@ -1 +1 @@\n-old\n+new\n"
PROOF = "GET first 7 → 1 query, 2 responses identical, 2 tests pass"


def leave_fix(folder: Path) -> None:
    """Leave a ``fix`` that proved a patch of the one finding."""
    files = {"host/urls.py": last_fix.digest_of((folder / "host/urls.py").read_bytes())}
    proved = last_fix.Attempt(outcome="proved", patch=PATCH, proof=PROOF, files=files)
    path = last_fix.path_beside(folder / "querybudget.toml")
    attempts = {last_fix.key_of(NAME, FINDING["place"]): proved}
    last_fix.write(path, at="2026-11-28T01:00:00+00:00", root=folder, attempts=attempts)


def noisy(project: Project) -> None:
    """Let the project print whenever it can, and have a database that is not there yet."""
    settings = project.folder / "host" / "settings.py"
    text = settings.read_text().replace(":memory:", "not-there.sqlite3")
    settings.write_text(
        f"print('settings')\n{text}QUERYBUDGET = {{'INDEXES': {{'THIRD_PARTY': True}}}}\n"
    )
    urls = project.folder / "host" / "urls.py"
    urls.write_text(f"import sys\nprint('urls', end='')\nsys.stdout.write('…')\n{urls.read_text()}")


class Answers:
    """What a client was told."""

    def __init__(self) -> None:
        self.tools: list[Any] = []
        self.told: dict[str, tuple[bool, str, Any]] = {}

    def data(self, key: str) -> Any:
        failed, text, structured = self.told[key]
        assert not failed, text
        assert json.loads(text) == structured
        return structured

    def problem(self, key: str) -> str:
        failed, text, structured = self.told[key]
        assert failed
        assert structured is None
        return text


CALLS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "findings": ("list_findings", {}),
    "findings of first": ("list_findings", {"view": "GET first", "most": 1}),
    "findings of second": ("list_findings", {"view": "second"}),
    "explained": ("explain_view", {"view": "first"}),
    "listed": ("explain_view", {"view": "*"}),
    "fix": ("propose_fix", {"finding": NAME}),
    "over": ("check_budget", {"view": "first"}),
    "within": ("check_budget", {"view": "host.urls.second"}),
    "unknown view": ("explain_view", {"view": "frist"}),
    "long view": ("explain_view", {"view": "frist" * 9999}),
    "unknown view of findings": ("list_findings", {"view": "frist"}),
    "unknown view to check": ("check_budget", {"view": "frist"}),
    "several views to check": ("check_budget", {"view": "*"}),
    "unknown finding": ("propose_fix", {"finding": "00000000"}),
    "no argument": ("explain_view", {}),
    "another argument": ("check_budget", {"view": "first", "apply": True}),
    "another type": ("propose_fix", {"finding": 7}),
    "too many": ("list_findings", {"most": 0}),
    "unknown tool": ("apply_fix", {"finding": NAME}),
}


async def asked(folder: Path) -> Answers:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "django_querybudget.contrib.mcp"],
        cwd=folder,
        env={
            "DJANGO_SETTINGS_MODULE": "host.settings",
            "PYTHONPATH": str(Path(django_querybudget.__file__).parent.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    answers = Answers()
    with (folder.parent / "stderr").open("w", encoding="utf-8") as stderr:
        async with (
            stdio_client(parameters, errlog=stderr) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            answers.tools = list((await session.list_tools()).tools)
            for key, (name, arguments) in CALLS.items():
                result = await session.call_tool(name, dict(arguments))
                (content,) = result.content
                text: str = getattr(content, "text", "")
                answers.told[key] = (result.is_error, text, result.structured_content)
    return answers


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def host(tmp_path: Path) -> Project:
    (tmp_path / "host").mkdir()
    return Project(tmp_path / "host")


def test_an_agent_asks_each_tool_and_nothing_is_written(host: Project) -> None:
    host.record(first=3, second=2)
    leave(host.folder)
    noisy(host)
    leave_fix(host.folder)
    before = files(host.folder)
    answers = asyncio.run(asked(host.folder))
    assert files(host.folder) == before
    assert "settings\n" in (host.folder.parent / "stderr").read_text()

    assert [each.name for each in answers.tools] == list(mcp.TOOLS)
    assert all(each.annotations.read_only_hint for each in answers.tools)

    listed = answers.data("findings")
    (found,) = listed["findings"]
    assert (found["id"], found["view"], found["line"]) == (NAME, "GET first", 12)
    assert (listed["unknown"], listed["left_out"]) == ("", 0)
    assert answers.data("findings of first")["findings"] == [found]
    assert answers.data("findings of second")["findings"] == []

    told = answers.data("explained")
    assert told["recorded"]["lines"][0]["queries"] == 3
    assert told["last_run"]["lines"][0]["queries"] == 7
    assert told["findings"]["findings"] == [found]
    assert "There is no database 'default' yet." in told["indexes"]["unknown"]
    assert [each["name"] for each in answers.data("listed")["views"]] == ["first", "second"]

    assert answers.data("fix") == found
    assert found["suggested"]["code"] == FIX["code"]
    assert (found["patch"], found["proof"], found["unproved"]) == (PATCH, PROOF, "")

    over = answers.data("over")
    assert over["verdict"] == "over"
    (queries,) = [each for each in over["checks"] if each["dimension"] == "max_queries"]
    assert (queries["actual"], queries["limit"], queries["over"]) == (7, 3, True)
    assert queries["source"] == "querybudget.toml"
    assert answers.data("within")["verdict"] == "within"

    for key in ("unknown view", "unknown view of findings", "unknown view to check"):
        assert "No view is called 'frist'. Did you mean first" in answers.problem(key)
    long = answers.problem("long view")
    assert len(long) < 600
    assert "… A view is named as in BUDGETS" in long
    assert "stands for first, second" in answers.problem("several views to check")
    assert f"has no finding '00000000'; it has {NAME}" in answers.problem("unknown finding")
    assert "'view' is a required property" in answers.problem("no argument")
    assert "'apply' was unexpected" in answers.problem("another argument")
    assert "$.finding: 7 is not of type 'string'" in answers.problem("another type")
    assert "$.most: 0 is less than the minimum of 1" in answers.problem("too many")
    assert "There is no tool 'apply_fix'; there are: list_findings" in answers.problem(
        "unknown tool"
    )


def test_without_settings_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    assert mcp.main([]) == 2
    assert "DJANGO_SETTINGS_MODULE is not set" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "mcp.server.stdio", None)
    assert mcp.main([]) == 2
    assert "python -m pip install 'mcp>=2.0'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("SECRET_KEY = os.environ['NOT_SET']", "KeyError: 'NOT_SET'"),
        ("INSTALLED_APPS = ['no_such_app']", "ModuleNotFoundError: No module named 'no_such_app'"),
    ],
)
def test_settings_that_cannot_be_imported_are_named(project: Project, line: str, why: str) -> None:
    settings = project.folder / "host/settings.py"
    settings.write_text(f"{settings.read_text()}\n{line}\n")
    done = subprocess.run(
        [sys.executable, "-m", "django_querybudget.contrib.mcp"],
        cwd=project.folder,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "host.settings",
            "PYTHONPATH": os.pathsep.join(
                [str(project.folder), str(Path(django_querybudget.__file__).parents[1])]
            ),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Django cannot be set up with the settings host.settings: " in done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.urls("tests.explaining.views")
def test_what_cannot_be_compared_is_said(tmp_path: Path, settings: Any) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"jobs:names": {"max_queries": 5, "rows": 9, "writes": 0}}}
    file = tmp_path / "querybudget.toml"
    told = judged("jobs:names", file)
    assert (told["verdict"], told["checks"]) == ("unknown", [])
    assert "No test run is recorded" in told["unknown"]
    lines = {Key("views", "GET jobs:names 2xx"): Line(queries=5)}
    run = LastRun.of(lines, {}, run="", passed=True)
    last_run.write(last_run.path_beside(file), run)
    told = judged("jobs:names", file)
    assert told["verdict"] == "within"
    assert [each["dimension"] for each in told["checks"]] == ["max_queries"]
    for each in ("rows were not told", "limits writes, which a test run", "There is no"):
        assert each in told["unknown"]
