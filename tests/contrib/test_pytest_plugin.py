"""The pytest plugin, in suites of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from textwrap import dedent

import pytest

from tests.ratchet.project import Project

pytestmark = pytest.mark.once

MARKED = """
import pytest
from host.urls import run

@pytest.mark.query_budget
@pytest.mark.django_db
def test_marked():
    run(4)
"""


def lines(project: Project) -> dict[str, int]:
    """The queries of each line of the file."""
    import tomllib

    data = tomllib.loads(project.lockfile.read_text(encoding="utf-8"))
    return {
        name: line["queries"]
        for kind in ("views", "tests")
        for name, line in data.get(kind, {}).items()
    }


class TestRatchet:
    """--querybudget=record, check, tighten."""

    def test_record_then_check(self, project: Project) -> None:
        project.tests(more=MARKED)
        status, text = project.pytest("--querybudget=record")
        assert status == 0, text
        assert lines(project) == {
            "GET first 2xx": 3,
            "GET second 2xx": 2,
            "host/test_views.py::test_marked": 4,
        }
        status, text = project.pytest("--querybudget=check")
        assert status == 0, text
        assert "All 3 lines are as in querybudget.toml." in text

    def test_check_fails_above_a_line_and_says_what_came_in(self, project: Project) -> None:
        project.recorded()
        before = project.lockfile.read_bytes()
        project.tests(first=7)
        status, text = project.pytest(
            "--querybudget=check", "--querybudget-github", "--querybudget-sarif=out.sarif"
        )
        assert status == 1
        assert "GET first 2xx: 3 → 7 queries, 2 → 6 queries that repeat a shape" in text
        assert "3 → 7 x  SELECT ? AS a FROM django_content_type" in text
        assert "host/urls.py:8 in run" in text
        assert "\n::error title=GET first 2xx%3A 3 → 7 queries" in text
        assert "file=host/urls.py,line=8::" in text
        (result,) = json.loads((project.folder / "out.sarif").read_text())["runs"][0]["results"]
        assert "3 → 7" in result["message"]["text"]
        assert project.lockfile.read_bytes() == before

    def test_better_lines_are_told_and_tightened(self, project: Project) -> None:
        project.record(first=3, second=2)
        project.tests(first=1)
        status, text = project.pytest("--querybudget=check")
        assert status == 0
        assert "GET first 2xx: 3 → 1 query" in text
        assert lines(project)["GET first 2xx"] == 3
        status, text = project.pytest("--querybudget=tighten")
        assert status == 0
        assert lines(project) == {"GET first 2xx": 1, "GET second 2xx": 2}

    def test_tightening_raises_nothing(self, project: Project) -> None:
        project.record(first=3, second=2)
        project.tests(first=7)
        status, _ = project.pytest("--querybudget=tighten")
        assert status == 1
        assert lines(project)["GET first 2xx"] == 3

    def test_lines_left_over_are_named_and_pruned_by_the_same_run(self, project: Project) -> None:
        project.tests(more=MARKED)
        project.recorded()
        status, text = project.pytest("--querybudget=record", "-k", "second")
        assert status == 0
        assert len(lines(project)) == 3, text
        project.tests()
        status, text = project.pytest("--querybudget=check")
        assert status == 0
        assert "1 left over: host/test_views.py::test_marked" in text
        project.pytest("--querybudget=tighten")
        assert "host/test_views.py::test_marked" not in lines(project)

    def test_workers_of_xdist_merge(self, project: Project) -> None:
        project.tests(more=MARKED)
        project.recorded()
        alone = project.lockfile.read_bytes()
        project.lockfile.unlink()
        status, text = project.pytest("--querybudget=record", "-n", "2")
        assert status == 0, text
        assert project.lockfile.read_bytes() == alone
        project.tests(first=7, more=MARKED)
        status, text = project.pytest("--querybudget=check", "-n", "2")
        assert status == 1
        assert "GET first 2xx: 3 → 7 queries" in text

    @pytest.mark.parametrize("more", [(), ("-n", "2")])
    def test_of_a_suite_with_a_red_test_what_passed_is_recorded(
        self, project: Project, more: tuple[str, ...]
    ) -> None:
        project.tests(
            more="    def test_fails(self):\n"
            "        self.client.post('/second')\n        assert False\n"
        )
        status, text = project.pytest("--querybudget=record", *more)
        assert status == 1
        assert lines(project) == {"GET first 2xx": 3, "GET second 2xx": 2}, text
        assert "1 left out, only failing tests reached it: POST second 2xx" in text
        assert "Failing: host/test_views.py::ViewTests::test_fails" in text
        assert "--querybudget=record" not in text.partition("query budgets")[2]
        status, text = project.pytest("--querybudget=check", *more)
        assert (status, "above" in text) == (1, False), text

    def test_a_run_that_was_cut_short_records_nothing(self, project: Project) -> None:
        project.tests(more="    def test_first_of_all(self):\n        raise KeyboardInterrupt\n")
        status, text = project.pytest("--querybudget=record")
        assert status == 2
        assert "is left as it was: the run did not come to its end" in text
        assert not project.lockfile.exists()

    def test_content_types_count_the_same_in_any_order(self, project: Project) -> None:
        view = dedent(
            """
            def third(request):
                ContentType.objects.get_for_model(ContentType)
                return HttpResponse()

            urlpatterns += [path("third", third, name="third")]
            """
        )
        urls = project.folder / "host" / "urls.py"
        urls.write_text(urls.read_text() + view)
        project.tests(
            more="    def test_third(self):\n        ContentType.objects.clear_cache()\n"
            "    def test_third_then(self):\n        self.client.get('/third')\n"
        )
        project.pytest("--querybudget=record")
        assert lines(project)["GET third 2xx"] == 0

    def test_a_broken_file_stops_the_run_and_is_left(self, project: Project) -> None:
        project.lockfile.write_text("format = 1\n[views\n")
        for mode in ("record", "check"):
            status, text = project.pytest(f"--querybudget={mode}")
            assert status == 4
            assert "querybudget.toml: it is not TOML" in text
            assert "line 2" in text
        assert project.lockfile.read_text() == "format = 1\n[views\n"

    def test_check_without_a_file_says_what_to_do(self, project: Project) -> None:
        status, text = project.pytest("--querybudget=check")
        assert status == 4
        assert "there is no such file: pytest --querybudget=record first." in text

    def test_a_sarif_file_that_cannot_be_written_stops_the_run(self, project: Project) -> None:
        status, text = project.pytest("--querybudget=record", "--querybudget-sarif=no/x.sarif")
        assert status == 4
        assert "no/x.sarif cannot be written: No such file or directory. Name a file" in text
        assert "Traceback" not in text
        assert not project.lockfile.exists()

    def test_a_sarif_file_that_can_no_longer_be_written_is_told(self, project: Project) -> None:
        (project.folder / "out").mkdir()
        project.tests(
            more="\ndef test_removes():\n    import pathlib\n    pathlib.Path('out').rmdir()\n"
        )
        status, text = project.pytest("--querybudget=record", "--querybudget-sarif=out/x.sarif")
        assert status == 1
        assert "out/x.sarif cannot be written" in text
        assert "Traceback" not in text
        assert project.lockfile.exists()

    def test_what_is_measured_is_written_beside_the_file(self, project: Project) -> None:
        project.recorded()
        recorded, measured = project.lockfile.read_bytes(), project.folder / "measured.toml"
        arguments = ("--querybudget=check", "--querybudget-measured=measured.toml")
        assert project.pytest(*arguments)[0] == 0
        # As it would have been recorded, to the letter.
        assert measured.read_bytes() == recorded
        project.tests(first=7)
        assert project.pytest(*arguments, "-n", "2")[0] == 1
        assert b"queries = 7\n" in measured.read_bytes()
        assert project.lockfile.read_bytes() == recorded
        # What an earlier run measured is not to be read as of one that failed.
        project.tests(more="    def test_red(self):\n        assert False\n")
        status, text = project.pytest(*arguments)
        assert status == 1
        assert "measured.toml is not written: not every test passed" in text
        assert not measured.exists()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--querybudget-measured=x"], "--querybudget-measured goes with --querybudget."),
            (
                ["--querybudget=check", "--querybudget-measured=no/x"],
                "no/x cannot be written: No such file or directory. Name a file for the meas",
            ),
            (
                ["--querybudget=check", "--querybudget-measured=./querybudget.toml"],
                "to accept the numbers, pytest --querybudget=record.",
            ),
        ],
    )
    def test_a_measurement_that_cannot_be_written_stops_the_run(
        self, project: Project, arguments: list[str], words: str
    ) -> None:
        project.record(first=3, second=2)
        before = project.lockfile.read_bytes()
        status, text = project.pytest(*arguments)
        assert (status, words in text) == (4, True), text
        assert project.lockfile.read_bytes() == before

    def test_a_suite_that_measures_nothing_is_told_so(self, project: Project) -> None:
        (project.folder / "host" / "test_views.py").write_text("def test_nothing():\n    pass\n")
        _, text = project.pytest("--querybudget=record")
        assert "No view and no marked test was measured" in text
        assert not project.lockfile.exists()


BUDGETED = """
import pytest
from django.test import TestCase
from host.urls import run

@pytest.fixture
def rows(db):
    run(9)

@pytest.mark.query_budget(2)
def test_within(rows):
    run(2)

@pytest.mark.query_budget(2, similar=0)
def test_above(rows):
    run(3)

@pytest.mark.query_budget(0)
def test_fails_otherwise(rows):
    run(1)
    assert False, "its own"

class CaseTests(TestCase):
    def setUp(self):
        run(9)

    @pytest.mark.query_budget(2)
    def test_case_within(self):
        run(2)

    @pytest.mark.query_budget(2)
    def test_case_above(self):
        run(3)

def test_fixtures(rows, assert_max_queries, capture_queries, assert_query_growth):
    with capture_queries() as log:
        run(2)
    assert log.count == 2
    assert_max_queries(2, run, 2)
    assert_query_growth(lambda size: None, lambda: run(1))
    with pytest.raises(AssertionError, match="3 queries executed, budget is 2"):
        with assert_max_queries(2):
            run(3)
"""

LIVE = """
import urllib.request
import pytest

def ask(url):
    urllib.request.urlopen(url).read()

def test_live(live_server, assert_max_queries, capture_queries):
    with capture_queries() as log:
        ask(f"{live_server.url}/second")
    assert log.count == 2
    with pytest.raises(AssertionError, match="2 queries executed, budget is 1"):
        assert_max_queries(1, ask, f"{live_server.url}/second")

@pytest.mark.query_budget(1)
def test_marked(live_server):
    ask(f"{live_server.url}/second")
"""


class TestMarkerAndFixtures:
    """@pytest.mark.query_budget and the three fixtures."""

    def test_a_marked_tests_own_queries_count_and_no_others(self, project: Project) -> None:
        project.tests(more=BUDGETED)
        status, text = project.pytest("--junitxml=out.xml", "--strict-markers")
        assert status == 1
        cases = ET.parse(project.folder / "out.xml").iter("testcase")  # noqa: S314 - our own
        failed = {
            case.get("name"): failure.get("message", "")
            for case in cases
            for failure in case.iter("failure")
        }
        assert set(failed) == {"test_above", "test_fails_otherwise", "test_case_above"}, text
        assert "3 queries executed, budget is 2; 2 queries repeat" in failed["test_above"]
        assert "3 queries executed, budget is 2" in failed["test_case_above"]
        assert "its own" in failed["test_fails_otherwise"]
        assert "host/urls.py:8 in run" in text

    def test_a_failure_shows_the_test_and_nothing_of_the_library(self, project: Project) -> None:
        settings = project.folder / "host" / "settings.py"
        settings.write_text(
            settings.read_text()
            + 'MIDDLEWARE = ["django_querybudget.middleware.QueryBudgetMiddleware"]\n'
            + 'QUERYBUDGET = {"BUDGETS": {"second": 1}}\n'
        )
        project.tests(more=f"{BUDGETED}\ndef test_of_one(client, db):\n    client.get('/second')\n")
        status, text = project.pytest("-k", "above or of_one", "--show-capture=no")
        assert status == 1
        assert "3 failed" in text, text
        source = (project.folder / "host" / "test_views.py").read_text().splitlines()
        (marked,) = (number for number, line in enumerate(source, 1) if "similar=0" in line)
        assert f"\nhost/test_views.py:{marked}: in test_above\n" in text
        assert "\nhost/test_views.py::test_above: 3 queries executed, budget is 2" in text
        # pytest cuts the summary to the width of the terminal.
        assert "\nFAILED host/test_views.py::test_above - Failed: host/test_v" in text
        assert ">       client.get('/second')" in text
        for name in (
            "pytest_runtest_call",
            "def sync_call",
            "def _enforce",
            "def done",
            "def __call",
        ):
            assert name not in text
        assert "django_querybudget/" not in text

    def test_a_live_servers_queries_count(self, project: Project) -> None:
        project.tests(more=LIVE)
        status, text = project.pytest("-k", "live or marked")
        assert status == 1
        assert "1 failed, 1 passed" in text, text
        assert "test_marked: 2 queries executed, budget is 1" in text

    @pytest.mark.parametrize(
        ("budget", "words"),
        [
            ("-1", "max_queries is -1"),
            ("1.5", "max_queries is 1.5"),
            ("querys=3", "unexpected keyword argument 'querys'"),
            ("3, using='replica'", "using='replica' is not in DATABASES; the aliases are: default"),
        ],
    )
    def test_a_bad_budget_is_refused_before_a_test_runs(
        self, project: Project, budget: str, words: str
    ) -> None:
        project.tests(
            more=f"\nimport pytest\n@pytest.mark.query_budget({budget})\ndef test_bad(): ...\n"
        )
        status, text = project.pytest()
        assert status == 4
        assert "host/test_views.py::test_bad: query_budget: " in text
        assert words in text

    def test_more_is_shown_with_v(self, project: Project) -> None:
        shapes = "\n".join(
            f"    ContentType.objects.filter({lookup}='1').exists()"
            for lookup in ("pk", "model", "app_label", "pk__gt", "pk__lt", "model__gt", "model__lt")
        )
        project.tests(
            more="\nimport pytest\n@pytest.mark.django_db\n@pytest.mark.query_budget(0)\n"
            f"def test_shapes():\n{shapes}\n"
        )
        _, short = project.pytest("-k", "shapes")
        _, verbose = project.pytest("-k", "shapes", "-v")
        assert "… and 2 shapes more: see -v." in short
        assert "shapes more" not in verbose


def test_it_is_safe_in_a_project_without_django_settings(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:django"]
    done = subprocess.run(
        [*command, "-v"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    refused = subprocess.run(
        [*command, "--querybudget=check"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 4
    assert "--querybudget needs Django's settings" in refused.stderr


def test_collecting_alone_judges_nothing(project: Project) -> None:
    project.record(first=3, second=2)
    status, text = project.pytest("--querybudget=check", "--collect-only")
    assert status == 0
    assert "query budgets" not in text


def test_a_run_without_views_fails_only_if_it_is_the_whole_run(project: Project) -> None:
    project.tests(more="\ndef test_nothing(): pass\n")
    project.record(first=3, second=2)
    status, text = project.pytest("--querybudget=check", "-k", "nothing")
    assert status == 0
    assert "No view and no marked test was measured" in text
    settings = project.folder / "host" / "settings.py"
    settings.write_text(settings.read_text() + 'QUERYBUDGET = {"ENABLED": False}\n')
    status, text = project.pytest("--querybudget=check")
    assert status == 1
