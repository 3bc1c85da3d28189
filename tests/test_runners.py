"""A test runner of the project's, listened to: each test's outcome, whatever the result's class."""

from __future__ import annotations

import io
import unittest
from typing import Any

from django.test.runner import DiscoverRunner

from django_querybudget.conf.runners import ListenedRunner, TestListener, is_discover_runner


class Tests(unittest.TestCase):
    __test__ = False  # this one is run by the test below

    def test_errs(self) -> None:
        raise RuntimeError("erred")

    @unittest.expectedFailure
    def test_fails_as_expected(self) -> None:
        self.fail("expected")

    def test_fails_in_parts(self) -> None:
        for number in range(3):
            with self.subTest(number=number):
                if number != 1:
                    self.fail(f"{number} is not 1")

    def test_fails(self) -> None:
        self.fail("failed")

    def test_passes(self) -> None:
        pass

    @unittest.expectedFailure
    def test_passes_unexpectedly(self) -> None:
        pass

    def test_skips(self) -> None:
        self.skipTest("not here")


class Heard(TestListener):
    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def started(self, test: str) -> None:
        self.told.append((test.rpartition("_")[2], "started"))

    def ended(self, test: str) -> None:
        self.told.append((test.rpartition("_")[2], "ended"))

    def note(self, test: str, outcome: str, error: Any = None) -> None:
        text = "" if error is None else str(error[1])
        self.told.append((test.rpartition("_")[2], outcome, text))


class OwnResult(unittest.TextTestResult):
    """What a project may have."""


class OwnRunner(DiscoverRunner):
    def get_test_runner_kwargs(self) -> dict[str, Any]:
        return {"resultclass": OwnResult, "stream": io.StringIO(), "verbosity": 0}


class Runner(ListenedRunner, OwnRunner):
    listener = Heard()


def test_each_outcome_is_heard_and_the_result_stays_the_projects() -> None:
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Tests)
    result = unittest.TextTestRunner(**Runner().get_test_runner_kwargs()).run(suite)
    assert isinstance(result, OwnResult)
    assert (result.testsRun, len(result.failures), len(result.errors)) == (7, 3, 1)
    told = Runner.listener.told
    assert [each[1] for each in told].count("started") == 7
    assert [each[1] for each in told].count("ended") == 7
    assert sorted(each for each in told if each[1] not in ("started", "ended")) == [
        ("errs", "failed", "erred"),
        ("expected", "skipped", ""),
        ("fails", "failed", "failed"),
        ("parts", "failed", "0 is not 1"),
        ("parts", "failed", "2 is not 1"),
        ("passes", "passed", ""),
        ("skips", "skipped", ""),
        ("unexpectedly", "failed", ""),
    ]


def test_a_runner_of_another_kind_is_told_from_djangos() -> None:
    assert is_discover_runner(OwnRunner)
    assert not is_discover_runner(unittest.TextTestRunner)
    assert not is_discover_runner(OwnRunner())
