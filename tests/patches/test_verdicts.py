"""What withdraws a patch: each way in which a run with it may differ from one without."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest

from django_querybudget.patches.answers import Answer
from django_querybudget.patches.baseline import MOST_EARLIER, Baseline
from django_querybudget.patches.rehearsals import Rehearsal, RequestRun
from django_querybudget.patches.verdicts import changing, judge

LOAD = "select_related shop.Book author shop/views.py:7"


class Runs:
    """Makes rehearsals of one test with one request."""

    def __init__(self, bodies: Path) -> None:
        self.bodies = bodies

    def run(
        self,
        queries: int,
        body: bytes = b"same",
        *,
        outcome: str = "passed",
        view: str = "GET books",
        saves: dict[str, int] | None = None,
        loads: dict[str, int] | None = None,
    ) -> Rehearsal:
        data = b"200\n\n" + body
        digest = hashlib.sha256(data).hexdigest()
        (self.bodies / digest).write_bytes(zlib.compress(data))
        run = Rehearsal(self.bodies)
        run.outcomes["test"] = outcome, "AssertionError: why"
        run.scopes["test"] = [RequestRun(view, queries, saves or {}, loads or {})]
        run.answers["test"] = [Answer("GET /books", digest, view)]
        return run


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def _problems(base: Baseline, run: Rehearsal) -> list[str]:
    return [each.text for each in judge(base, run, ["key"], about=["key"]).problems]


def test_a_patch_stands_by_fewer_queries_and_the_same_answers(runs: Runs) -> None:
    first = runs.run(9, saves={"key": 6})
    base = Baseline(first, runs.run(9))
    verdict = judge(base, runs.run(3), ["key"], about=["key"])
    assert verdict.stands
    assert verdict.proof == "GET books 9 → 3 queries, 1 response identical, 1 test passes"
    assert _problems(base, runs.run(3, outcome="failed")) == ["test fails: AssertionError: why"]
    assert _problems(base, runs.run(3, outcome="skipped")) == [
        "test is skipped, which passed before"
    ]
    assert _problems(base, runs.run(4)) == [
        "GET books executes 4 queries in test, not 9: 6 were to be saved"
    ]
    assert _problems(base, runs.run(10))[-1] == ("GET books executes 1 more query over all tests")
    assert _problems(base, runs.run(3, b"other"))[0].startswith(
        "test: the answer to GET /books differs: "
    )
    assert _problems(base, runs.run(3, view="GET shelves")) == [
        "test asks for other views",
        "no request in which it is to save queries could be measured again",
    ]
    empty = Rehearsal(runs.bodies)
    assert _problems(base, empty)[0].startswith("no test ran")


def test_a_load_that_is_still_there_is_not_taken_out(runs: Runs) -> None:
    first = runs.run(3, saves={"key": 0}, loads={LOAD: 4})
    first.vain["key"] = frozenset([LOAD.rpartition(" ")[0]])
    base = Baseline(first, runs.run(3))
    moved = {LOAD.replace(":7", ":8"): 4}
    assert _problems(base, runs.run(3, loads=moved)) == [
        "GET books still loads select_related shop.Book author in test"
    ]
    assert _problems(base, runs.run(3)) == []
    # What read it after all loads it row by row.
    assert _problems(base, runs.run(7)) != []


def test_a_proof_without_an_answer_says_so(runs: Runs) -> None:
    """Two runs of the same code ask for other things: no answer stands beside another."""
    first, second, third = (runs.run(9, saves={"key": 6}), runs.run(9), runs.run(3))
    for number, run in enumerate((first, second, third)):
        run.answers["test"] = [Answer(f"GET /books/{number}", "none")]
    verdict = judge(Baseline(first, second), third, ["key"], about=["key"])
    assert verdict.proof == (
        "GET books 9 → 3 queries, no response of it could be compared, "
        "1 that no two runs answer alike, 1 test passes"
    )


def test_what_asks_for_something_else_is_told_by_its_request(runs: Runs) -> None:
    base = Baseline(runs.run(9, saves={"key": 6}), runs.run(9))
    run = runs.run(3)
    run.answers["test"] = [Answer("GET /shelves", "none")]
    assert _problems(base, run) == [
        "test asks for other things: its request 1 was GET /books, and is GET /shelves"
    ]
    run.answers["test"] = []
    assert _problems(base, run) == [
        "test asks for other things: its request 1 was GET /books, and is none"
    ]


def test_what_executes_now_more_now_fewer_is_not_judged_but_named(runs: Runs) -> None:
    base = Baseline(runs.run(9, saves={"key": 6}), runs.run(12))
    (problem,) = _problems(base, runs.run(10))
    assert problem == (
        "no request in which it is to save queries could be measured again: without a patch, "
        "GET books executes 9 queries in test, and 12 in the next run"
    )
    assert list(changing(base)) == [
        "without a patch, GET books executes 9 queries in test, and 12 in the next run"
    ]
    assert list(changing(Baseline(runs.run(9), runs.run(9)))) == []


def test_what_the_clock_has_moved_is_judged_as_it_was_last(runs: Runs) -> None:
    """A row more since the first run: two runs in a row say what there is to save now."""
    base = Baseline(runs.run(9, saves={"key": 6}), runs.run(12, saves={"key": 9}))
    now = runs.run(3)
    verdict = judge(base, now, ["key"], about=["key"])
    assert verdict.may_pass
    assert verdict.may_still_pass
    base.add(runs.run(12, saves={"key": 9}))
    verdict = judge(base, now, ["key"], about=["key"])
    assert verdict.stands
    assert verdict.proof == "GET books 12 → 3 queries, 1 response identical, 1 test passes"
    assert _problems(base, runs.run(4)) == [
        "GET books executes 4 queries in test, not 12: 9 were to be saved"
    ]
    assert not judge(base, runs.run(4), ["key"], about=["key"]).may_pass


def test_what_nobody_reads_is_held_to_the_last_run_as_well(runs: Runs) -> None:
    first = runs.run(9, saves={"key": 0}, loads={LOAD: 4})
    first.vain["key"] = frozenset([LOAD.rpartition(" ")[0]])
    base = Baseline(first, runs.run(12, loads={LOAD: 5}))
    base.add(runs.run(12, loads={LOAD: 5}))
    assert _problems(base, runs.run(12)) == []
    assert _problems(base, runs.run(12, loads={LOAD: 5})) == [
        "GET books still loads select_related shop.Book author in test"
    ]


def test_however_many_runs_there_were_a_few_are_held_to(runs: Runs) -> None:
    """Each pair of them is compared, and each patch that fails may ask for two more."""
    base = Baseline(runs.run(9), runs.run(9))
    for number in range(20):
        base.add(runs.run(9, b"%d" % number))
    assert len(base.earlier) == MOST_EARLIER
    assert [run.answers["test"] for run in (*base.earlier, base.second)] == [
        runs.run(9, b"%d" % number).answers["test"] for number in (17, 18, 19)
    ]
