"""manage.py querybudget record|check|tighten -- test …"""

from __future__ import annotations

import json

import pytest

from tests.ratchet.project import Project

pytestmark = pytest.mark.once


def test_record_check_and_tighten(project: Project) -> None:
    status, text = project.manage("querybudget", "record", "--", "test")
    assert status == 0, text
    assert "Wrote 2 lines to querybudget.toml." in text
    recorded = project.lockfile.read_bytes()
    assert project.manage("querybudget", "check", "--", "test")[0] == 0
    project.tests(first=7)
    status, text = project.manage(
        "querybudget",
        "check",
        "--github",
        "--sarif",
        "out.sarif",
        "--measured",
        "measured.toml",
        "--",
        "test",
        "-v",
        "0",
    )
    assert status == 1
    assert "GET first 2xx: 3 → 7 queries" in text
    assert "host/urls.py:8 in run" in text
    assert "manage.py querybudget record -- test" in text
    assert "\n::error title=" in text
    assert json.loads((project.folder / "out.sarif").read_text())["runs"][0]["results"]
    measured = (project.folder / "measured.toml").read_bytes()
    assert (b"queries = 7\n" in measured, b"queries = 3\n" in measured) == (True, False)
    assert project.lockfile.read_bytes() == recorded
    project.tests(first=1)
    assert project.manage("querybudget", "tighten", "--", "test")[0] == 0
    assert b"queries = 1\n" in project.lockfile.read_bytes()


def test_parallel_processes_merge(project: Project) -> None:
    project.manage("querybudget", "record", "--", "test")
    alone = project.lockfile.read_bytes()
    project.lockfile.unlink()
    other = "".join(
        f"\nclass Other{number}(ViewTests):\n    pass\n" for number in range(3)
    )  # One process would do for one class.
    project.tests(more=other)
    status, text = project.manage("querybudget", "record", "--", "test", "--parallel", "2")
    assert status == 0, text
    assert project.lockfile.read_bytes() == alone


def test_content_types_count_the_same_in_any_order(project: Project) -> None:
    urls = project.folder / "host" / "urls.py"
    urls.write_text(
        urls.read_text()
        + "\ndef third(request):\n    ContentType.objects.get_for_model(ContentType)\n"
        "    return HttpResponse()\n\nurlpatterns += [path('third', third, name='third')]\n"
    )
    project.tests(
        more="    def test_third(self):\n        ContentType.objects.clear_cache()\n"
        "    def test_third_then(self):\n        self.client.get('/third')\n"
    )
    status, text = project.manage("querybudget", "record", "--", "test")
    assert status == 0, text
    assert '[views."GET third 2xx"]\nqueries = 0\n' in project.lockfile.read_text()


FAILING = """
    def test_fails(self):
        self.client.get("/second")
        self.client.post("/second")
        self.client.post("/first", {"queries": 1})
        self.fail()
"""


@pytest.mark.parametrize("more", [(), ("--parallel", "2")])
def test_of_a_suite_with_a_red_test_what_passed_is_recorded(
    project: Project, more: tuple[str, ...]
) -> None:
    project.tests(more=FAILING + "\nclass Others(ViewTests):\n    test_fails = None\n")
    status, text = project.manage("querybudget", "record", "--", "test", *more)
    assert status == 1
    assert "Wrote 2 lines to querybudget.toml." in text
    assert (
        "2 left out, only failing tests reached it: POST first 2xx; POST second 2xx\n"
        "1 line without what failing tests measured; it is not lowered.\n"
        "Failing: host.test_views.ViewTests.test_fails\n"
    ) in text
    assert "querybudget record" not in text
    assert b"POST" not in project.lockfile.read_bytes()
    recorded = project.lockfile.read_bytes()
    status, text = project.manage("querybudget", "check", "--", "test", *more)
    assert status == 1
    assert "above" not in text
    assert project.lockfile.read_bytes() == recorded
    # What passed is judged all the same.
    project.tests(first=7, more=FAILING)
    status, text = project.manage("querybudget", "check", "--", "test", *more)
    assert "GET first 2xx: 3 → 7 queries" in text
    assert "manage.py querybudget record -- test" in text


def test_a_run_that_was_cut_short_records_nothing(project: Project) -> None:
    project.tests(more="    def test_ends(self):\n        raise KeyboardInterrupt\n")
    status, text = project.manage("querybudget", "record", "--", "test")
    assert status != 0
    assert not project.lockfile.exists(), text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["record"], "manage.py querybudget record -- test [arguments]"),
        (["record", "--", "migrate"], "manage.py querybudget record -- test [arguments]"),
        (["check", "--", "test"], "there is no such file"),
        (["record", "--sarif", "no/x", "--", "test"], "no/x cannot be written: No such file or"),
    ],
)
def test_what_makes_no_sense_is_refused(project: Project, arguments: list[str], words: str) -> None:
    status, text = project.manage("querybudget", *arguments)
    assert status == 2
    assert words in text
