"""Each finding and each failure ends in one link into the documentation, whose target is there."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.checks.registry import registry

from django_querybudget import Budget
from django_querybudget import checks as root_checks
from django_querybudget.budgets.growth import QueryGrowth
from django_querybudget.cache import cached_queryset
from django_querybudget.exceptions import LockFileError
from django_querybudget.indexes.advisor import render_advice
from django_querybudget.indexes.advisor.advice import Advice, AdvisorReport
from django_querybudget.indexes.audit.audit import DatabaseAudit
from django_querybudget.indexes.audit.findings import FindingKind, IndexFinding
from django_querybudget.indexes.audit.rendering import render_audits, render_json
from django_querybudget.messages.links import DISTRIBUTION, DOCS, check_link
from django_querybudget.nplusone import Cause, Finding
from django_querybudget.nplusone.eager import EagerLoads
from django_querybudget.ratchet import last_run, lockfile
from django_querybudget.ratchet.comparison import compare
from django_querybudget.ratchet.last_run import LastRunError
from django_querybudget.ratchet.lines import Key, Line
from django_querybudget.ratchet.lockfile import LockFile
from django_querybudget.ratchet.sarif import sarif
from django_querybudget.ratchet.text import github_annotations, render
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.reports.enforcement import enforce
from django_querybudget.reports.report import QueryReport, render_growth
from django_querybudget.trying.page import page
from django_querybudget.trying.trial import Loops, Trial
from jobs.models import Industry

ROOT = Path(__file__).parent.parent
LINK = re.compile(rf"{re.escape(DOCS)}\S*")


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the explicit targets of a page, as they stand in an address."""
    targets = re.findall(r"^\.\. _([^:\n]+):$", path.read_text(encoding="utf-8"), re.M)
    return frozenset(re.sub(r"[^a-z0-9]+", "-", each.lower()) for each in targets)


def check(text: str) -> str:
    """Assert that ``text`` ends in its one link, whose target is there; return the anchor."""
    (link,) = LINK.findall(text)
    assert text.endswith(f"See {link}"), text
    page_of, _, anchor = link.partition("#")
    assert anchor in anchors(ROOT / page_of), link
    return anchor


def log_of(queries: int) -> QueryLog:
    log = QueryLog()
    for number in range(queries):
        log.append(RawRecord("SELECT %s", (number,), False, "default", "sqlite", 0.0, 0.0))
    return log


def report_of(
    queries: int, budget: Budget | None, findings: tuple[Finding, ...] = ()
) -> QueryReport:
    report = QueryReport(name="GET jobs:list", log=log_of(queries), budget=budget)
    vars(report)["findings"] = findings
    return report


def finding(cause: Cause) -> Finding:
    return Finding(
        cause=cause, relation="Job.client", operation="get", origin=None, count=3, saves=2,
        fix=None, use=None, alias="default", fingerprint="SELECT ?",
    )  # fmt: skip


class Unread(EagerLoads):
    unread = (finding(Cause.UNUSED_EAGER_LOAD),)  # type: ignore[assignment]


def broken(text: str, folder: Path) -> str:
    path = folder / "querybudget.toml"
    path.write_text(text)
    with pytest.raises(LockFileError) as error:
        lockfile.read(path)
    return str(error.value)


def no_run(folder: Path) -> str:
    path = folder / "last-run.json"
    path.write_text("{")
    with pytest.raises(LastRunError) as error:
        last_run.read(path)
    return str(error.value)


def raised(function: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(Exception) as error:  # noqa: PT011 - its text is what is looked at
        function(*arguments)
    return str(error.value)


def evaluated() -> Any:
    queryset = Industry.objects.none()
    list(queryset)
    return queryset


ABOVE = compare(
    LockFile(lines={Key("views", "GET a 2xx"): Line(queries=1)}),
    {Key("views", "GET a 2xx"): Line(queries=2), Key("views", "GET b 2xx"): Line(queries=2)},
    "",
)
RESULT: Any = json.loads(sarif(ABOVE, "querybudget.toml"))["runs"][0]["results"][0]
BOTH = (finding(Cause.RELATION), finding(Cause.WRITE))
LOOPS = Loops(saves=2, queries=3, text=["  3 queries"], line=None, loops=[], views=["GET a"])

MESSAGES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "budget": ("budget-exceeded", lambda _: str(report_of(2, Budget(1)))),
    "budget and loops": ("budget-exceeded", lambda _: str(report_of(2, Budget(1), BOTH))),
    "rows unknown": (
        "rows-unknown",
        lambda _: raised(enforce, report_of(2, Budget(rows=1)), "raise"),
    ),
    "loops": ("nplusone", lambda _: str(report_of(2, None, BOTH))),
    "loops alone": ("nplusone", lambda _: report_of(2, None, BOTH).nplusone_text),
    "one loop": ("relation", lambda _: report_of(2, None, BOTH[:1]).nplusone_text),
    "growth": ("growth", lambda _: grown()),
    "eager load": ("unused-eager-load", lambda _: str(Unread())),
    "ratchet": (
        "above-its-line",
        lambda _: render(ABOVE, "f", mode="check", rewritten=False, command="{mode}"),
    ),
    "annotation": ("above-its-line", lambda _: next(iter(github_annotations(ABOVE)))),
    "SARIF": ("above-its-line", lambda _: str(RESULT["message"]["text"])),
    "lock file": ("lock-file", lambda folder: broken("=", folder)),
    "lock file's line": ("lock-file", lambda folder: broken("format = 2\n[tables]", folder)),
    "last run": ("last-run", no_run),
    "advice": ("index-advice", lambda _: advised()),
    "no queryset": ("not-cacheable", lambda _: raised(cached_queryset, [])),
    "a raw queryset": ("not-cacheable", lambda _: raised(cached_queryset, RAW)),
    "an evaluated queryset": ("not-cacheable", lambda _: raised(cached_queryset, evaluated())),
}
RAW = Industry.objects.raw("SELECT 1")


def grown() -> str:
    growth = QueryGrowth({2: log_of(2), 8: log_of(8)})
    return render_growth(growth, growth.above(0), 0)


def advised() -> str:
    advice = Advice(model=Industry, fields=("name",), purposes=(), samples=())
    return render_advice(AdvisorReport(advice=(advice,), queries=1, shapes=1, problems=("none",)))


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_ends_in_its_link(kind: str, tmp_path: Path) -> None:
    anchor, made = MESSAGES[kind]
    assert check(made(tmp_path)) == anchor


@pytest.mark.parametrize("cause", Cause)
def test_a_finding_of_each_cause(cause: Cause) -> None:
    assert check(str(finding(cause))) == cause.name.lower().replace("_", "-")


@pytest.mark.parametrize("kind", FindingKind)
def test_an_index_finding_of_each_kind(kind: FindingKind) -> None:
    found = IndexFinding(
        kind=kind, model="jobs.Job", table="jobs_job", index="one", message="It is.", hint="Go."
    )
    audits = [DatabaseAudit(alias="default", vendor="sqlite", findings=(found,))]
    *_, message, hint = render_audits(audits).splitlines()
    assert check(f"{message}\n{hint}") == f"index-{kind}"
    (told,) = json.loads(render_json(audits))["databases"][0]["findings"]
    assert hint.endswith(told["docs"])


def test_the_page_of_try() -> None:
    told = page(Trial(started=True, loops=[LOOPS]), "manage.py test", status=0, rows=None)
    (line,) = [line for line in told.splitlines() if DOCS in line]
    assert check(line) == "nplusone"


@pytest.mark.parametrize("address", ["https://docs.example.com/q", "file:///srv/docs/"])
def test_the_setting_says_where_they_begin(address: str, settings: Any, tmp_path: Path) -> None:
    settings.QUERYBUDGET = {"DOCS_URL": address}
    begin = f"See {address.rstrip('/')}/reference/"
    for name, (anchor, made) in MESSAGES.items():
        if name not in MADE_BEFORE:
            assert made(tmp_path).endswith(f"{begin}messages.html#{anchor}"), name
    settings.QUERYBUDGET = {"DOCS_URL": address, "BUDGETS": {"nowhere-at-all": 3}}
    hints = [each.hint or "" for each in run_checks(tags=["querybudget"])]
    assert any(each.endswith(f"{begin}checks.html#querybudget-w010") for each in hints), hints


MADE_BEFORE = ("SARIF",)
"""Made when this module is imported."""


METADATA = """\
Metadata-Version: 2.1
Name: django-querybudget
Version: 9
Project-URL: Source, https://code.example.com/q
Project-URL: Documentation, https://docs.example.com/q/
"""


@pytest.mark.parametrize(
    ("text", "link"),
    [
        (METADATA, "https://docs.example.com/q/reference/messages.html#growth"),
        (METADATA.replace("Documentation, ", "Homepage, "), f"{DOCS}reference/messages.rst#growth"),
        (
            METADATA.replace(" https://docs.example.com/q/", ""),
            f"{DOCS}reference/messages.rst#growth",
        ),
    ],
)
def test_without_it_the_packages_metadata_do(text: str, link: str, tmp_path: Path) -> None:
    (tmp_path / "django_querybudget-9.dist-info").mkdir()
    (tmp_path / "django_querybudget-9.dist-info" / "METADATA").write_text(text)
    # Before there are settings, too: compare and merge need none.
    script = (
        "from django_querybudget.messages.links import message_link; print(message_link('growth'))"
    )
    environment = {
        name: text
        for name, text in os.environ.items()
        if name not in ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (link, "")


def test_a_wrong_address_is_no_link_and_no_error(settings: Any, tmp_path: Path) -> None:
    settings.QUERYBUDGET = {"DOCS_URL": "docs.example.com"}
    assert check(MESSAGES["budget"][1](tmp_path)) == "budget-exceeded"


def test_the_package_is_called_as_its_metadata_are_asked_for() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["name"] == DISTRIBUTION


def test_what_is_within_its_budget_has_none() -> None:
    assert not LINK.search(str(report_of(1, Budget(1))))
    assert not LINK.search(report_of(2, Budget(1)).brief)


def ids() -> Iterator[str]:
    """Yield the id of every system check that a module gives."""
    for path in (ROOT / "django_querybudget").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        yield from re.findall(r'"(querybudget\.[EWI]\d{3})"', text)


def test_every_system_check_has_its_place_on_the_page() -> None:
    found = set(ids())
    assert len(found) > 30
    for each in found:
        check(f"See {check_link(each)}")


def test_the_roots_table_has_every_system_check_with_its_modules() -> None:
    table = (root_checks.__doc__ or "").split("===\n")[1]
    rows = re.findall(r"^``(.+?)``(?: to ``(\d+)``)? (.*(?:\n  .*)*)", table, re.MULTILINE)
    for each in sorted(set(ids())):
        (text,) = (
            text
            for first, last, text in rows
            if (first == each if not last else int(first) <= int(each[-3:]) <= int(last))
        )
        named = re.findall(r":mod:`\.([\w.]+)`", text) or ["checks"]
        paths = [ROOT / "django_querybudget" / f"{name.replace('.', '/')}.py" for name in named]
        assert any(each in path.read_text() for path in paths), each


@pytest.mark.urls("tests.budget_urls")
def test_the_hints_of_system_checks_end_in_it(settings: Any) -> None:
    settings.QUERYBUDGET = {
        "BUDGETS": {"nothing": 3, "plain": "many"}, "NPLUSONE_ALLOW": ["No.one"], "HEADER": 1,
        "CACHE": {"ALIAS": "nowhere"}, "PRODUCTION": {"ALIAS": "nowhere"},
    }  # fmt: skip
    messages = run_checks(tags=["querybudget"])
    assert {each.id for each in messages} >= {
        f"querybudget.{each}" for each in ("E001", "E011", "W010", "W003", "E020", "E040")
    }
    for each in messages:
        assert check(each.hint or "") == (each.id or "").lower().replace(".", "-")


def test_every_check_of_ours_is_registered_with_its_link() -> None:
    checks = [*registry.registered_checks, *registry.deployment_checks]
    ours = [each for each in checks if each.__module__.startswith("django_querybudget.")]
    assert len(ours) > 10
    assert [each for each in ours if not hasattr(each, "__wrapped__")] == []
