"""What is told of a view, and what is not known of it."""

from __future__ import annotations

import json
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from jsonschema import Draft202012Validator

from django_querybudget.explaining.explanation import explanation, schema
from django_querybudget.explaining.production import SECONDS
from django_querybudget.explaining.text import render
from django_querybudget.indexes.audit.findings import FindingKind
from django_querybudget.nplusone import Cause
from django_querybudget.production import process
from django_querybudget.production.measures import MEASURES
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from django_querybudget.production.record import series_key
from django_querybudget.ratchet.last_run import path_beside
from tests.production.test_store import Clock

from .conftest import Ran

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.explaining.views")]

BAD_FINDING = (
    '{"format": 1, "run": "", "at": "", "passed": true, "complete": true, "views": '
    '{"GET x": {"lines": {}, "tables": [], "causes": true, "findings": [{}]}}}'
)

VALIDATOR = Draft202012Validator(schema())


def strict(part: Any) -> Any:
    """Return the schema without room for a key that it does not know."""
    if isinstance(part, list):
        return [strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    closed = {name: strict(each) for name, each in part.items()}
    return {**closed, "additionalProperties": False} if "properties" in part else closed


STRICT = Draft202012Validator(strict(schema()))


def explained(view: str, file: Path) -> dict[str, Any]:
    told = explanation(view, file)
    STRICT.validate(json.loads(json.dumps(told)))
    return told


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())
    assert not VALIDATOR.is_valid({"version": 1})


def test_the_schema_knows_every_cause_and_every_index_finding() -> None:
    parts = schema()["$defs"]
    assert parts["finding"]["properties"]["cause"]["enum"] == [c.name.lower() for c in Cause]
    (kinds,) = (
        part["properties"]["kind"]["enum"]
        for name, part in parts.items()
        if name.startswith("index") and "kind" in part.get("properties", {})
    )
    assert sorted(kinds) == sorted(str(kind) for kind in FindingKind)


@pytest.mark.usefixtures("rows")
def test_all_of_a_view_in_one_place(ran: Ran, settings: Any) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "BUDGETS": {"jobs:*": {"max_queries": 9}}}
    file = ran("/jobs/names/")
    told = explained("jobs:names", file)
    assert told["view"]["methods"] == ["GET"]
    (budget,) = told["budget"]["budgets"]
    assert (budget["source"], budget["limits"]) == ("setting", {"max_queries": 9})
    assert budget["where"] == "QUERYBUDGET[\"BUDGETS\"]['jobs:*']"
    (line,) = told["recorded"]["lines"]
    assert (line["name"], line["queries"], line["similar"]) == ("GET jobs:names 2xx", 5, 3)
    (measured,) = told["last_run"]["lines"]
    assert measured["queries"] == 5
    assert (told["last_run"]["run"], told["last_run"]["passed"]) == ("pytest tests", True)
    (finding,) = told["findings"]["findings"]
    assert (finding["cause"], finding["relation"]) == ("relation", "Subcategory.industry")
    # Before Python 3.12 the comprehension in it is a function, too.
    function = finding["function"].partition(".<locals>")[0]
    assert (finding["file"], function) == ("tests/explaining/views.py", "names")
    assert finding["table"] == "jobs_industry"
    assert finding["suggested"]["code"] == 'Subcategory.objects.select_related("industry")'
    source = Path(finding["file"]).read_text().splitlines()
    assert "Subcategory.objects.all()" in source[finding["suggested"]["line"] - 1]
    assert finding["docs"] == "docs/reference/messages.rst#relation"
    assert told["indexes"]["tables"] == ["jobs_industry", "jobs_subcategory"]
    assert told["cache"]["cached"] is False
    known = ("budget", "recorded", "last_run", "findings", "cache")
    assert {name: told[name]["unknown"] for name in known} == dict.fromkeys(known, "")
    text = render(told)
    for each in (
        finding["id"],
        finding["suggested"]["code"],
        "GET 2xx: 5 queries",
        "max_queries 9",
    ):
        assert each in text


def test_what_is_not_known_is_said_and_is_no_0(tmp_path: Path) -> None:
    told = explained("jobs:names", tmp_path / "querybudget.toml")
    for part in ("recorded", "last_run", "findings", "indexes"):
        assert "run pytest --querybudget=" in told[part]["unknown"], part
    assert '"PRODUCTION": {} in QUERYBUDGET' in told["production"]["unknown"]
    assert [told["last_run"][name] for name in ("run", "at", "passed", "lines")] == [
        None, None, None, [],
    ]  # fmt: skip
    assert "0 " not in render(told).partition("Recorded")[2]


@pytest.mark.usefixtures("rows")
def test_a_view_that_the_last_run_did_not_reach(ran: Ran) -> None:
    told = explained("jobs:industries", ran("/jobs/names/"))
    assert "did not reach jobs:industries" in told["last_run"]["unknown"]
    assert "has no line of jobs:industries" in told["recorded"]["unknown"]


def test_a_decorators_budget_comes_first_and_each_method_has_its_own(
    tmp_path: Path, settings: Any
) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"*": 20, "POST jobs:industries": None}}
    told = explained("jobs:industries", tmp_path / "querybudget.toml")
    by_method = {each["method"]: each for each in told["budget"]["budgets"]}
    assert by_method["GET"]["source"] == "decorator"
    assert by_method["GET"]["limits"] == {"max_queries": 3, "duplicates": 0}
    assert "Industries.get (tests/explaining/views.py:" in by_method["GET"]["where"]
    assert (by_method["POST"]["source"], by_method["POST"]["limits"]) == ("setting", None)
    told = explained("POST jobs:industries", tmp_path / "querybudget.toml")
    assert [each["method"] for each in told["budget"]["budgets"]] == ["POST"]


def test_a_budget_that_is_none_is_said(tmp_path: Path, settings: Any) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"jobs:names": "many"}}
    told = explained("jobs:names", tmp_path / "querybudget.toml")
    assert "QUERYBUDGET[\"BUDGETS\"]['jobs:names'] is 'many'" in told["budget"]["unknown"]


@pytest.mark.usefixtures("rows")
def test_an_id_stays_when_lines_move_and_tells_two_loops_apart(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    from . import views

    file = ran("/jobs/two/", "/jobs/names/")
    before = [each["id"] for each in explained("jobs:two", file)["findings"]["findings"]]
    assert len(set(before)) == 2
    assert before[1] == f"{before[0]}-2"
    (other,) = explained("jobs:names", file)["findings"]["findings"]
    assert other["id"] not in before
    code = views.two_loops.__code__
    monkeypatch.setattr(
        views.two_loops, "__code__", code.replace(co_firstlineno=code.co_firstlineno + 3)
    )
    file = ran("/jobs/two/")
    assert [each["id"] for each in explained("jobs:two", file)["findings"]["findings"]] == before


def test_that_no_causes_were_looked_for_is_said(ran: Ran, settings: Any) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "NPLUSONE": "off"}
    told = explained("jobs:names", ran("/jobs/names/"))
    assert '"NPLUSONE"] was "off"' in told["findings"]["unknown"]
    assert "None in the last" not in render(told)


def test_a_cached_view_by_decorator_with_its_counts(tmp_path: Path, client: Any) -> None:
    client.get("/kept/")
    client.get("/kept/")
    cache = explained("kept", tmp_path / "querybudget.toml")["cache"]
    assert (cache["cached"], cache["by"], cache["timeout"], cache["vary_on"]) == (
        True, "decorator", 60, [],
    )  # fmt: skip
    assert cache["where"] == "tests.explaining.views.kept"
    assert cache["statistics"]["hits"] + cache["statistics"]["misses"] >= 2


def test_a_cached_view_by_setting(tmp_path: Path, settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"VIEWS": {"jobs:names": {"timeout": 30, "vary_on": []}}}}
    cache = explained("jobs:names", tmp_path / "querybudget.toml")["cache"]
    assert (cache["by"], cache["timeout"]) == ("setting", 30)
    assert "Nobody has asked" in cache["unknown"]
    assert cache["statistics"] is None


@pytest.mark.parametrize("backend", ["db.DatabaseCache", "filebased.FileBasedCache"])
def test_a_cache_that_deletes_when_it_is_read_is_not_read(
    backend: str, tmp_path: Path, settings: Any
) -> None:
    path = f"django.core.cache.backends.{backend}"
    settings.CACHES = {**settings.CACHES, "kept": {"BACKEND": path, "LOCATION": str(tmp_path)}}
    settings.QUERYBUDGET = {"PRODUCTION": {"ALIAS": "kept"}, "CACHE": {"ALIAS": "kept"}}
    told = explained("kept", tmp_path / "querybudget.toml")
    for part, command in (("production", "report"), ("cache", "cache stats")):
        assert "may delete what has expired" in told[part]["unknown"]
        assert told[part]["unknown"].endswith(f"querybudget {command}.")


def test_reading_the_record_of_production_writes_nothing(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Of a minute that several processes wrote, a report keeps the sum for the next reader."""
    settings.QUERYBUDGET = {"PRODUCTION": {"ALIAS": "redis"}}
    cache: Any = caches["redis"]
    cache.clear()
    clock = Clock()
    clock.now = time.time() - 2 * 3600
    monkeypatch.setattr(process, "time", clock)
    for _ in range(2):
        one = ProcessRecord("redis")
        one.add(series_key("view", "jobs:names", "GET"), (2, *[None] * (len(MEASURES) - 1)), [])
        assert one.flush()
    client = cache.client.get_client(write=True)

    def held() -> dict[bytes, bytes]:
        return {key: client.get(key) for key in client.keys("*")}

    before = held()
    told = explained("jobs:names", tmp_path / "querybudget.toml")["production"]
    assert [each["requests"] for each in told["series"]] == [2]
    assert held() == before
    read_picture(SECONDS)
    assert held().keys() > before.keys()
    cache.clear()


def test_a_list_of_views(tmp_path: Path) -> None:
    told = explained("jobs:*", tmp_path / "querybudget.toml")
    assert [each["name"] for each in told["views"]] == ["jobs:names", "jobs:two", "jobs:industries"]
    assert "jobs:two  tests.explaining.views.two_loops (tests/explaining/views.py:" in render(told)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "cannot be read"),
        ("[]", "its format is None"),
        ('{"format": 2}', "its format is 2"),
        ('{"format": 1}', "is not what a test run writes (KeyError: 'run')"),
        ('{"format": 1, "run": "", "at": "", "passed": 1, "complete": true, "views": {}}', "bool"),
        (BAD_FINDING, "'id' of a finding"),
    ],
)
def test_a_broken_file_of_the_last_run_is_named_and_left(
    text: str, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "querybudget.toml"
    path = path_beside(file)
    path.parent.mkdir()
    path.write_text(text)
    told = explained("jobs:names", file)
    for part in ("last_run", "findings"):
        assert str(path) in told[part]["unknown"]
        assert problem in told[part]["unknown"]
        assert "Delete it, and run the tests again" in told[part]["unknown"]
    assert path.read_text() == text


def test_the_command(tmp_path: Path) -> None:
    out = StringIO()
    file = str(tmp_path / "querybudget.toml")
    call_command("querybudget", "explain", "jobs:names", "--json", "--file", file, stdout=out)
    VALIDATOR.validate(json.loads(out.getvalue()))
    with pytest.raises(CommandError, match="Did you mean jobs:names") as error:
        call_command("querybudget", "explain", "jobs:name", "--file", file, stdout=out)
    assert error.value.returncode == 2
