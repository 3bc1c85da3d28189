"""Collecting from every process of a run."""

from __future__ import annotations

import os
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from django_querybudget.conf import conf
from django_querybudget.ratchet import collecting
from django_querybudget.ratchet.collecting import Collected, collect, read_spool, start, stop
from django_querybudget.ratchet.lines import Key
from django_querybudget.recording.records import QueryLog, RawRecord

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.budget_urls")]


def log_of(queries: int) -> QueryLog:
    log = QueryLog()
    for number in range(queries):
        log.append(RawRecord(f"SELECT {number}", None, False, "default", "sqlite", 0.0, 0.0))
    return log


@pytest.fixture
def spool(tmp_path: Path, settings: Any) -> Iterator[Path]:
    settings.QUERYBUDGET = {"SAMPLE_RATE": 0.0}
    # Restored by the fixture `settings`: start() may replace it.
    settings.MIDDLEWARE = list(settings.MIDDLEWARE)
    outer = os.environ.get(collecting.SPOOL_VARIABLE)
    start(tmp_path)
    yield tmp_path
    stop()
    if outer is not None:
        start(Path(outer))


def test_each_view_method_and_status_has_its_highest_count(spool: Path, client: Client) -> None:
    for queries in (1, 3, 2):
        client.get("/plain", {"queries": queries})
    client.post("/plain")
    client.get("/nowhere")
    lines = read_spool(spool).lines
    assert {key: line.queries for key, line in lines.items()} == {
        Key("views", "GET plain 2xx"): 3,
        Key("views", "POST plain 2xx"): 0,
    }
    assert lines["views", "GET plain 2xx"].similar == 2


def test_every_request_is_measured_whatever_the_settings_sample(spool: Path) -> None:
    assert conf.SAMPLE_RATE == 1.0
    stop()
    assert conf.SAMPLE_RATE == 0.0


def test_the_middleware_is_put_first_where_it_is_missing(
    tmp_path: Path, settings: Any, client: Client, spool: Path
) -> None:
    settings.MIDDLEWARE = []
    start(tmp_path)
    assert django_settings.MIDDLEWARE == [collecting.MIDDLEWARE]
    client.get("/plain")
    assert read_spool(tmp_path).lines


def test_processes_merge(spool: Path) -> None:
    key = Key("tests", "t.py::test")
    collect(key, log_of(1))
    child = os.fork()
    if not child:
        collect(key, log_of(4))
        os._exit(0)
    os.waitpid(child, 0)
    collect(key, log_of(2))
    assert len(list(spool.glob("*.jsonl"))) == 2
    assert read_spool(spool).lines[key].queries == 4


def test_a_line_that_was_cut_short_is_left_out(spool: Path) -> None:
    collect(Key("tests", "whole"), log_of(1))
    (spool / "killed.jsonl").write_text('["tests", "half", null, 0, {"quer')
    assert list(read_spool(spool).lines) == [Key("tests", "whole")]


def test_what_a_failing_test_measured_is_told_apart(
    spool: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for test, queries in (("t.py::good", 2), ("t.py::bad", 3), ("t.py::other", 2)):
        monkeypatch.setenv("PYTEST_CURRENT_TEST", f"{test} (call)")
        client.get("/plain", {"queries": queries})
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "t.py::bad (call)")
    client.post("/plain")
    plain, posted = Key("views", "GET plain 2xx"), Key("views", "POST plain 2xx")
    assert read_spool(spool).lines[plain].queries == 3
    collected = read_spool(spool, {"t.py::bad"})
    assert {key: line.queries for key, line in collected.lines.items()} == {plain: 2}
    assert collected.left_out == {plain: {"t.py::bad"}, posted: {"t.py::bad"}}


def test_a_line_that_many_tests_measure_is_written_once(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(50)
    for number in range(200):
        monkeypatch.setenv("PYTEST_CURRENT_TEST", f"t.py::{number} (call)")
        collect(Key("tests", "t"), log)
    (file,) = spool.glob("*.jsonl")
    assert file.stat().st_size < 200 * 60 + 4000
    assert read_spool(spool, {"t.py::0"}).lines["tests", "t"].queries == 50


class TheTest(unittest.TestCase):
    def runTest(self) -> None:  # noqa: N802 - unittest's name
        collect(Key("tests", "in unittest"), log_of(1))


def test_unittest_s_test_is_the_one_on_the_stack(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    TheTest().run()
    collect(Key("tests", "nowhere"), log_of(1))
    collected = read_spool(spool, {f"{__name__}.TheTest.runTest"})
    assert collected == Collected(
        {},
        {
            Key("tests", "in unittest"): {f"{__name__}.TheTest.runTest"},
            Key("tests", "nowhere"): {"a test that is not known"},
        },
    )
    assert len(read_spool(spool).lines) == 2


def test_nothing_is_collected_outside_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(collecting.SPOOL_VARIABLE, raising=False)
    collect(Key("tests", "t"), log_of(1))
    assert read_spool(tmp_path) == Collected()
