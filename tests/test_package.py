"""The package: importable before settings exist, with the public names."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import FunctionType

import pytest

import django_querybudget
from django_querybudget.conf import QueryBudgetSettings
from django_querybudget.conf.declaration import Section, Setting
from django_querybudget.conf.sections import (
    CacheSettings,
    IgnoreQueriesSettings,
    IndexesSettings,
    ProductionSettings,
)
from django_querybudget.indexes import IndexMixin
from django_querybudget.production.measures import MEASURES
from tests.production_process import loaded_in_production

ROOT = Path(__file__).parent.parent


def test_the_public_names_are_there() -> None:
    for name in django_querybudget.__all__:
        assert getattr(django_querybudget, name) is not None
    assert set(django_querybudget.__all__) <= set(dir(django_querybudget))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        django_querybudget.nothing  # noqa: B018 - asking is what raises


def test_it_is_importable_before_settings_exist() -> None:
    script = "import django_querybudget as q; q.Budget; q.capture_queries; print('imported')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("imported", "")


def test_a_production_process_imports_what_it_needs() -> None:
    """No causes, no cache, no ratchet, no advisor; an index set is the host's to import."""
    assert list(dict.fromkeys(name.split(".")[1] for name in loaded_in_production({}))) == [
        "apps", "budgets", "capture", "checks", "conf", "evidence", "exceptions", "indexes",
        "messages", "middleware", "recording", "reports", "routing", "signals", "sql",
        "stacks",
    ]  # fmt: skip


def modules() -> list[str]:
    return [
        "django_querybudget",
        *(
            found.name
            for found in pkgutil.walk_packages(django_querybudget.__path__, "django_querybudget.")
        ),
    ]


WITHOUT_ORDER = {
    "budgets": "six modules: the checks, and what they ask",
    "cache.transactions": "its __init__ stands among its modules",
    "conf": "its __init__ stands among its modules",
    "contrib": "each module is for a tool of its own",
    "contrib.celery": "two modules",
    "indexes.introspection": "a module for each database",
    "indexes.models": "two modules",
    "management": "a command's own modules",
    "management.commands": "one module",
    "management.subcommands": "a module for each",
    "messages": "links, the checks that end in one, words for numbers",
    "reports": "six modules around the report",
    "routing": "three modules",
}
"""The rooms in which no contract orders the modules, and why."""


def test_every_module_stands_in_a_contract() -> None:
    """An exhaustive contract for the root, and for each room that has several layers."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    exhaustive = {
        container
        for contract in map(setup.__getitem__, setup.sections())
        if contract.get("exhaustive") == "True"
        for container in contract["containers"].split()
    }
    root = ROOT / "django_querybudget"
    rooms = {
        ".".join(("django_querybudget", *path.parent.relative_to(root).parts))
        for path in root.rglob("__init__.py")
        if path.parent == root or any(each != path for each in path.parent.rglob("*.py"))
    }
    free = {f"django_querybudget.{room}" for room in WITHOUT_ORDER}
    assert sorted(rooms - exhaustive - free) == []
    assert sorted(free - (rooms - exhaustive)) == []  # Ordered since, or gone: strike it off.


SAME_NAME = {
    "Answer": "a response of a cached view; one that a test's client received",
    "Asked": "what a request asks of a cached view; what a person asks of explain",
    "Baseline": "the indexes' known findings; the runs of the unpatched code",
    "Call": "what a cached view is called with; a call in the source, where an N+1 is",
    "Change": "of a session, by a statement; of a line, by a run",
    "Compared": "two answers of a test; two versions of the ratchet's file",
    "Comparison": "of production, before and after; of a run with the ratchet's file",
    "Entry": "of the cache; of what compare tells",
    "Join": "of a cached queryset; of a shape that the indexes' advisor reads",
    "Need": "docs/explanation/words.rst says it of both",
    "Pending": "tags that are not yet renewed; a record of production that is not yet written",
    "Run": "of a view, for the cache; of a suite, for the ratchet",
    "State": "of a connection, in the cache; of a line, between two versions",
    "Statement": "as PostgreSQL tells them apart; of a text, as the lexer reads it",
    "Totals": "of the cache; of a log",
    "Verdict": "on a rehearsal with patches; on production before and after",
    "_Column": "of an index, as MySQL tells of it; as SQLite does",
}
"""Classes of two rooms, or of two ends of one, that have one name: what each of them is."""


def test_no_class_is_called_as_another_is() -> None:
    modules_of: dict[str, set[str]] = {}
    root = ROOT / "django_querybudget"
    for path in root.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                modules_of.setdefault(node.name, set()).add(str(path.relative_to(root)))
    twice = {name: sorted(found) for name, found in modules_of.items() if len(found) > 1}
    assert {name: twice[name] for name in sorted(twice.keys() - SAME_NAME.keys())} == {}
    assert sorted(SAME_NAME.keys() - twice.keys()) == []  # Renamed since: strike it off.


def test_the_picture_of_the_rooms_is_the_contract() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    layers = setup["importlinter:contract:flow"]["layers"].strip().splitlines()
    page = (ROOT / "docs" / "explanation" / "design.rst").read_text()
    picture = page.partition(".. code-block:: text\n\n")[2].partition("\n\n")[0].splitlines()
    shown = [re.split(r" {3,}", line.strip())[0].split() for line in picture]
    assert [set(line) for line in shown] == [set(line.split(" | ")) for line in layers]


def test_every_file_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / "tests" / "README.md").read_text()
    folders = ("django_querybudget", "tests", "benchmarks", "testproject")
    files = [f"/{path.relative_to(ROOT)}" for each in folders for path in (ROOT / each).rglob("*")]
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert named
    assert [each for each in sorted(named) if not any(f.endswith(f"/{each}") for f in files)] == []
    has = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")} - {"testproject"}
    said = re.findall(r"The rooms (`[^.;]*?) have\s+folders", text)
    assert [set(re.findall(r"`(\w+)`", each)) for each in said] == [has, has]


def test_every_name_that_contributing_names_stands_in_its_file() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    in_file = r"`(\w+)` in\s+`([\w/]+\.py)`"
    # Whatever stands as code in the parenthesis behind a file, and is no file itself.
    behind = re.findall(r"`([\w/]+\.py)`\s+\(([^()]*(?:\(\)[^()]*)*)\)", re.sub(in_file, "", text))
    named = {
        (file, name)
        for file, told in behind
        for code in re.findall(r"`([^`]+)`", told)
        if not re.search(r"[/<\s]|\.(?:py|json|rst|html)$", code)
        for name in re.findall(r"\w+", code)
    }
    named |= set(re.findall(r"`([\w/]+\.py)`: `(\w+)`", text))
    named |= {(file, name) for name, file in re.findall(in_file, text)}
    assert len(named) > 80
    folders = ("django_querybudget", "tests")
    files = [path for each in folders for path in (ROOT / each).rglob("*.py")]
    gone = [
        (file, name)
        for file, name in sorted(named)
        if not any(name in path.read_text() for path in files if f"/{path}".endswith(f"/{file}"))
    ]
    assert gone == []


def test_every_setting_has_an_entry_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "settings.rst").read_text()
    general, _, of_cache = page.partition("\nThe cache\n---------\n")

    def entries(text: str) -> set[str]:
        return set(re.findall(r"^``([A-Z0-9_]+)``(?: \(default|$)", text, re.M))

    inner = {
        name: entries(re.sub("^ {3}", "", told, flags=re.M))
        for name, told in re.findall(r"^``([A-Z_]+)``.*\n((?:\n|   .*\n)*)", general, re.M)
    }
    assert entries(of_cache) == declared(CacheSettings)
    assert entries(general) == declared(QueryBudgetSettings) | SECTIONS.keys()
    assert {name: inner[name] for name in SECTIONS} == {
        name: declared(section) for name, section in SECTIONS.items()
    }


SECTIONS = {
    "IGNORE_QUERIES": IgnoreQueriesSettings,
    "INDEXES": IndexesSettings,
    "PRODUCTION": ProductionSettings,
}


def declared(section: type[Section]) -> set[str]:
    """Return the keys that a section takes."""
    return {name for name, each in vars(section).items() if isinstance(each, Setting)}


PUBLIC = (
    "testing", "cache", "indexes", "nplusone", "nplusone.eager", "nplusone.fetch_mode",
    "signals", "exceptions", "budgets", "decorators", "reports",
)  # fmt: skip


def test_every_public_name_has_a_reference_entry() -> None:
    reference = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.rst"))
    whole = set(re.findall(r"automodule:: (\S+)", reference))
    entries = {
        entry.rpartition(".")[2] for entry in re.findall(r":: (\S+?)(?:\(\))?$", reference, re.M)
    }
    missing = [
        f"{module}.{name}"
        for module in PUBLIC
        if f"django_querybudget.{module}" not in whole
        for name in importlib.import_module(f"django_querybudget.{module}").__all__
        if name not in entries
    ]
    assert missing == []


INTERNAL = {
    "QueryLog": "append count_only evidence fetched raw totals",
    "QueryRecord": "inside of raw raw_origin raw_trail",
    "QueryReport": "brief shapes",
    "Increment": "add_queries is_full observe plus",
    "ProcessRecord": "add add_exporter alias count exported exporting failed_flushes forget "
    "remove_exporters stop",
    "Record": "add_details add_remark add_shape merge of",
    "Series": "add_numbers budget costliest remarked remarks seconds shapes total",
    "PrometheusExporter": "close collect describe",
    "OpenTelemetryExporter": "close wants_queries wants_requests",
    "MeasuredConsumer": "dispatch",
    "QueryBudgetMiddleware": "async_capable get_response is_async sync_capable",
    "CachedViewMiddleware": "async_capable get_response is_async process_exception process_view "
    "sync_capable",
    "cached_view": "caches options warm",
    "CachedViewMixin": "as_view dispatch",
    "TracedFetchMode": "fetch origin track_peers",
}
"""What is ours, or a framework's to call, of the classes in the reference."""

_OF_SELF = re.compile(r"^ +self\.([a-z]\w*)(?:: [^=\n]+)? =", re.MULTILINE)


def attributes_of(found: type) -> set[str]:
    """Return the names that a class of ours has, its fields and what its ``__init__`` sets."""
    names: set[str] = set()
    for each in found.__mro__:
        if each.__module__.startswith("django_querybudget"):
            names |= {*vars(each), *vars(each).get("__annotations__", ())}
            if isinstance(made := vars(each).get("__init__"), FunctionType):
                with suppress(OSError):  # a dataclass's own has no source
                    names |= set(_OF_SELF.findall(inspect.getsource(made)))
    return {name for name in names if not name.startswith("_")}


def test_every_member_of_a_public_class_has_a_reference_entry() -> None:
    reference = (ROOT / "docs" / "reference" / "python.rst").read_text()
    classes = re.findall(
        r"\.\. autoclass:: (\S+?)(?:\(\))?\n((?: +:.*\n(?:      +\w.*\n)*)*)", reference
    )
    assert len(classes) > 30
    wrong: dict[str, set[str]] = {}
    for path, options in classes:
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        listed = re.search(r":members:((?:[^:]|\n)*)", options)
        named = set(re.findall(r"\w+", listed[1])) if listed else set()
        if listed and not named:
            continue  # all of them
        own = attributes_of(found)
        assert {each for each in named if not each.startswith("_")} <= own, name
        internal = set(INTERNAL.get(name, "").split())
        assert internal <= own, f"{name} has no {internal - own} any more"
        assert not internal & named, name
        if missing := own - named - internal - ATTRIBUTES_OF_INDEX_SETS:
            wrong[name] = missing
    assert wrong == {}


def test_the_reference_has_every_measure_in_its_order() -> None:
    reference = (ROOT / "docs" / "reference" / "python.rst").read_text()
    told = reference.partition("a tuple of ``Measure``:")[2].partition(".\n")[0]
    assert re.findall(r"``(\w+)``", told) == [measure.name for measure in MEASURES]


ATTRIBUTES_OF_INDEX_SETS = attributes_of(IndexMixin)
"""Told once, of IndexMixin."""


def test_every_page_that_the_code_names_exists() -> None:
    missing = [
        (name, page)
        for name in modules()
        for page in re.findall(
            r"\bdocs/[\w/.-]*\w", Path(importlib.import_module(name).__file__ or "").read_text()
        )
        if not ((ROOT / page).exists() or (ROOT / f"{page}.rst").exists())
    ]
    assert missing == []


def test_nothing_installs_by_a_name_that_is_not_ours_yet() -> None:
    """Nothing is released: who takes the name first would be installed (RELEASING.md)."""
    files = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.rst"),
        *(ROOT / "django_querybudget").rglob("*.py"),
    ]
    by_name = re.compile(r"pip install [^\n]*?(?<![\w/])(?:django-querybudget|querybudget-django)")
    assert [path.name for path in files if by_name.search(path.read_text())] == []


def exists(name: str) -> bool:
    """Whether ``name`` is a module, or a name in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False


def test_every_neighbour_that_a_docstring_names_exists() -> None:
    missing = [
        (name, reference)
        for name in modules()
        for module in [importlib.import_module(name)]
        for reference in re.findall(
            r":\w+:`~?\.([\w.]+)`", Path(module.__file__ or "").read_text(encoding="utf-8")
        )
        if not exists(f"{module.__package__}.{reference}")
    ]
    assert missing == []


def test_every_module_says_what_it_is() -> None:
    for name in modules():
        text = Path(importlib.import_module(name).__file__ or "").read_text()
        assert not text.strip() or ast.get_docstring(ast.parse(text)), name


def test_the_version_is_the_distributions() -> None:
    assert metadata.version("django-querybudget") == django_querybudget.__version__


def test_it_is_typed() -> None:
    assert (Path(django_querybudget.__file__).parent / "py.typed").exists()
