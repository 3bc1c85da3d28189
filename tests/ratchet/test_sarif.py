"""SARIF 2.1.0."""

from __future__ import annotations

import json

import pytest

from django_querybudget import __version__
from django_querybudget.ratchet.comparison import compare
from django_querybudget.ratchet.lockfile import LockFile
from django_querybudget.ratchet.sarif import sarif
from tests.ratchet.test_text import ABOVE, LIST, OLD

pytestmark = pytest.mark.once


def test_a_result_for_each_failure_at_the_line_of_its_shape() -> None:
    log = json.loads(sarif(ABOVE, "querybudget.toml"))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("django-querybudget", __version__)
    (result,) = run["results"]
    assert result["ruleId"] in [rule["id"] for rule in driver["rules"]]
    assert result["message"]["text"].startswith("GET jobs:list 2xx: 3 → 22 queries")
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "jobs/views.py"},
        "region": {"startLine": 31},
    }


def test_no_failure_is_a_log_without_results() -> None:
    same = compare(LockFile(lines={LIST: OLD}), {LIST: OLD}, "")
    assert json.loads(sarif(same, "querybudget.toml"))["runs"][0]["results"] == []
