"""The action of action.yml, step by step as GitHub's runner runs it, on a real repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.ratchet.composite import Job, Runner, UnknownExpression, evaluated, filled
from tests.ratchet.project import WITHOUT, Project
from tests.ratchet.repository import Repository

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
LOOK, INSTALL, TESTS, COMPARE, JUDGE = (
    "Look at what was asked for",
    "Install django-querybudget",
    "Run the tests",
    "Compare with base",
    "Judge",
)
ADDED = """
def third(request):
    run(4)
    return HttpResponse()

urlpatterns += [path("third", third, name="third")]
"""
ASKED = """
    def test_third(self):
        self.client.get("/third")
"""


class Workflow:
    """A project in a repository, at ``main`` and on a branch; and the action, run on the branch."""

    def __init__(self, tmp_path: Path) -> None:
        self.origin = tmp_path / "origin"
        self.origin.mkdir()
        self.project = Project(self.origin)
        self.project.record(first=3, second=2)
        self.repository = Repository(self.origin)
        self.commit()
        self.repository.git("checkout", "--quiet", "-b", "branch")
        self.runner = Runner(ROOT, self.origin, tmp_path / "temp")
        self.base = "main"

    def commit(self) -> None:
        self.repository.git("add", ".")
        self.repository.git("commit", "--quiet", "--message=more")

    def run(self, **inputs: str) -> Job:
        """Run it as on a pull request, without installing."""
        self.runner.event = {"pull_request": {"base": {"sha": self.sha(self.base)}}}
        tests = f"pytest {' '.join(WITHOUT)}"
        return self.runner.run(
            **{"tests": tests, "python": sys.executable, "install": "false", **inputs}
        )

    def sha(self, revision: str) -> str:
        return self.repository.git("rev-parse", revision).strip()


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    return Workflow(tmp_path)


def test_nothing_that_is_handed_in_is_part_of_a_script() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    steps = Runner(ROOT, ROOT, Path("/tmp")).action["runs"]["steps"]  # noqa: S108 - nothing runs
    assert [each["name"] for each in steps] == [LOOK, INSTALL, TESTS, COMPARE, JUDGE]
    assert [each["name"] for each in steps if "${{" in each["run"]] == []
    inputs = set(re.findall(r"inputs\.([\w-]+)", text))
    assert inputs == set(Runner(ROOT, ROOT, Path("/tmp")).action["inputs"])  # noqa: S108 - as above


@pytest.mark.parametrize("tests", [" ".join(["pytest", *WITHOUT]), "test -v 0"])
def test_what_a_pull_request_costs_is_told_and_passes(workflow: Workflow, tests: str) -> None:
    urls = workflow.origin / "host" / "urls.py"
    urls.write_text(urls.read_text() + ADDED)
    workflow.project.tests(first=1, more=ASKED)
    workflow.commit()
    job = workflow.run(tests=tests)
    assert (job.failed, job.ran) == ("", [LOOK, TESTS, COMPARE, JUDGE]), job.log
    comment = Path(job.outputs["comment"]).read_text(encoding="utf-8")
    assert comment.startswith("<!-- django-querybudget: querybudget.toml -->\n")
    main = workflow.sha("main")[:10]
    assert f"`{main}` → `measured.toml`: **1 better, 1 of other queries, 1 new**" in comment
    assert "| better | `GET first 2xx` | 3 → 1 |" in comment
    assert workflow.runner.summary.read_text(encoding="utf-8") == comment
    assert comment in job.log
    assert {name: job.outputs[name] for name in ("above", "worse", "better", "new", "gone")} == {
        "above": "false", "worse": "0", "better": "1", "new": "1", "gone": "0",
    }  # fmt: skip
    # What was recorded by hand has no shapes.
    assert (job.outputs["other"], job.outputs["unchanged"]) == ("1", "0")
    assert Path(job.outputs["measured"]).is_file()
    # Nothing of the checkout was changed but what git ignores.
    assert workflow.repository.git("status", "--porcelain") == ""


def test_a_view_above_its_line_fails_after_it_is_told(workflow: Workflow) -> None:
    workflow.project.tests(first=7)
    workflow.commit()
    job = workflow.run()
    assert (job.failed, job.status) == (JUDGE, 1), job.log
    assert "::error title=GET first 2xx%3A 3 → 7 queries" in job.log
    assert "file=host/urls.py,line=8::" in job.log
    assert "::error title=Query budgets::Views are above their lines" in job.log
    assert "3 → 7" in workflow.runner.summary.read_text(encoding="utf-8")
    assert (job.outputs["above"], job.outputs["worse"]) == ("true", "1")
    job = workflow.run(fail_on="never")
    assert (job.failed, job.outputs["above"]) == ("", "true")
    assert job.ran == [LOOK, TESTS, COMPARE]


def test_what_the_branch_has_recorded_fails_only_if_asked(workflow: Workflow) -> None:
    workflow.project.tests(first=7)
    workflow.project.record(first=7, second=2)
    workflow.commit()
    job = workflow.run()
    assert (job.failed, job.outputs["above"], job.outputs["worse"]) == ("", "false", "1"), job.log
    job = workflow.run(fail_on="worse")
    assert (job.failed, job.status) == (JUDGE, 1)
    assert "::1 views or tests cost more than at base, and fail-on is worse." in job.log


@pytest.mark.parametrize("tests", [" ".join(["pytest", *WITHOUT]), "test -v 0"])
def test_red_tests_fail_as_they_do_and_nothing_is_compared(workflow: Workflow, tests: str) -> None:
    workflow.project.tests(more="    def test_red(self):\n        assert False, 'red indeed'\n")
    workflow.commit()
    job = workflow.run(tests=tests, fail_on="never")
    assert (job.failed, job.status, job.ran) == (TESTS, 1, [LOOK, TESTS]), job.log
    assert "red indeed" in job.log
    assert "::error title=Query budgets::The tests ended with 1 and left nothing to compare" in (
        job.log
    )
    assert not workflow.runner.summary.exists()
    assert job.outputs["comment"] == ""


def test_tests_that_measure_nothing_fail(workflow: Workflow) -> None:
    (workflow.origin / "host" / "test_views.py").write_text("def test_it():\n    pass\n")
    workflow.commit()
    job = workflow.run()
    assert (job.failed, job.status) == (TESTS, 1)
    assert "No view and no marked test was measured" in job.log


def test_without_a_file_the_way_to_one_is_told(workflow: Workflow) -> None:
    workflow.project.lockfile.unlink()
    workflow.commit()
    job = workflow.run(tests="test")
    assert (job.failed, job.status) == (TESTS, 2)
    assert "querybudget.toml: there is no such file: manage.py querybudget record -- test" in (
        job.log
    )


def test_a_base_without_a_file_is_told_and_every_line_is_new(workflow: Workflow) -> None:
    workflow.repository.git("checkout", "--quiet", "--orphan", "before")
    workflow.repository.git("rm", "--quiet", "--cached", "querybudget.toml")
    workflow.repository.git("commit", "--quiet", "--message=before")
    workflow.repository.git("checkout", "--quiet", "--force", "branch")
    workflow.base = "before"
    job = workflow.run()
    assert job.failed == "", job.log
    assert "The old revision has no such file: every line is new." in job.log
    assert job.outputs["new"] == "2"


def test_a_broken_file_at_base_is_named(workflow: Workflow) -> None:
    workflow.repository.git("checkout", "--quiet", "-b", "broken", "main")
    workflow.project.lockfile.write_text("<<<<<<< ours\nformat = 2\n")
    workflow.commit()
    workflow.repository.git("checkout", "--quiet", "branch")
    workflow.base = "broken"
    job = workflow.run()
    assert (job.failed, job.status) == (COMPARE, 2)
    sha = workflow.sha("broken")[:10]
    assert f"querybudget.toml of {sha}, line 1: it has markers of a merge" in job.log


def test_a_shallow_checkout_has_its_base_fetched(workflow: Workflow, tmp_path: Path) -> None:
    workflow.project.tests(first=2)
    workflow.commit()
    clone = tmp_path / "clone"
    url = workflow.origin.as_uri()
    workflow.repository.git("clone", "--quiet", "--depth=1", "--branch=branch", url, str(clone))
    workflow.runner.workspace = clone
    job = workflow.run()
    assert job.failed == "", job.log
    assert job.outputs["better"] == "1"
    # On a push there is no pull request: it is the default branch, by its name.
    workflow.runner.event = {"repository": {"default_branch": "main"}}
    shutil.rmtree(clone)
    workflow.repository.git("clone", "--quiet", "--depth=1", "--branch=branch", url, str(clone))
    tests = f"pytest {' '.join(WITHOUT)}"
    job = workflow.runner.run(tests=tests, python=sys.executable, install="false")
    assert (job.failed, job.outputs["better"]) == ("", "1"), job.log


def test_a_project_in_a_folder_of_the_repository(tmp_path: Path) -> None:
    workflow = Workflow(tmp_path)
    inner = workflow.origin / "back end"
    inner.mkdir()
    for name in ("host", "manage.py", "pytest.ini", "querybudget.toml"):
        (workflow.origin / name).rename(inner / name)
    workflow.commit()
    workflow.repository.git("branch", "--force", "main")
    views = inner / "host" / "test_views.py"
    views.write_text(views.read_text().replace('"queries": 3', '"queries": 7'))
    workflow.commit()
    job = workflow.run(working_directory="back end")
    assert job.failed == JUDGE, job.log
    assert "file=back end/host/urls.py,line=8" in job.log
    comment = Path(job.outputs["comment"]).read_text(encoding="utf-8")
    # Of two projects in one repository, each has a comment of its own.
    assert comment.startswith("<!-- django-querybudget: back%20end/querybudget.toml -->\n")
    assert job.outputs["worse"] == "1"


def test_a_summary_that_is_not_there_is_warned_of(workflow: Workflow) -> None:
    del workflow.runner.environment["GITHUB_STEP_SUMMARY"]
    job = workflow.run()
    assert job.failed == "", job.log
    assert "::warning title=Query budgets::This runner sets no GITHUB_STEP_SUMMARY" in job.log
    assert Path(job.outputs["comment"]).read_text(encoding="utf-8") in job.log


def test_a_summary_that_cannot_be_written_fails(workflow: Workflow) -> None:
    workflow.runner.summary.mkdir()
    job = workflow.run()
    assert (job.failed, job.status) == (COMPARE, 1)
    assert f"GITHUB_STEP_SUMMARY, {workflow.runner.summary}, cannot be written" in job.log


REFUSED = {
    "tests": ("make test", "tests is 'make test': it begins with pytest, or with test"),
    "fail_on": ("always", "fail-on is 'always': it is above, worse or never."),
    "install": ("yes", "install is 'yes': it is true or false."),
    "file": ("/etc/passwd", "file is '/etc/passwd': it is a path relative to"),
    "python": ("no-python", "python is 'no-python': there is no such command."),
    "working_directory": ("nowhere", "working-directory is 'nowhere': there is no such folder."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_input_that_makes_no_sense_is_refused_first(workflow: Workflow, name: str) -> None:
    value, words = REFUSED[name]
    job = workflow.run(**{name: value})
    assert (job.failed, job.status, job.ran) == (LOOK, 1, [LOOK])
    assert f"::error title=Query budgets::{words}" in job.log


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("", "base is empty, and this event names none"),
        ("nowhere", "base is 'nowhere': git knows no such revision, and cannot fetch it"),
        ("--upload-pack=touch made", "base is '--upload-pack=touch made': that is no revision."),
        ("main:querybudget.toml", "that is no revision."),
        ("main\n::notice::made%0A", "base is 'main%0A::notice::made%250A': that is no"),
    ],
)
def test_a_base_that_is_none_is_refused_first(workflow: Workflow, base: str, words: str) -> None:
    job = workflow.run(base=base)
    assert (job.failed, job.ran) == (LOOK, [LOOK])
    assert words in job.log
    assert "\n::notice" not in job.log


def test_outside_of_a_repository_it_is_said(workflow: Workflow, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    workflow.runner.workspace = tmp_path / "elsewhere"
    job = workflow.run()
    assert job.failed == LOOK
    assert "it is not in a repository of git." in job.log


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ("pytest $(touch made) `touch made` ;touch made", "not found: "),
        ("pytest 'host", "tests cannot be split into words: No closing quotation"),
    ],
)
def test_no_word_is_evaluated(workflow: Workflow, tests: str, words: str) -> None:
    job = workflow.run(tests=tests)
    assert job.failed == TESTS, job.log
    assert words in job.log
    assert list(workflow.origin.rglob("made")) == []


def test_words_are_split_as_a_shell_does(workflow: Workflow) -> None:
    job = workflow.run(tests=f"pytest {' '.join(WITHOUT)} -k 'first and not again' --co -q")
    # Nothing runs where tests are only listed.
    assert "1/3 tests collected (2 deselected)" in job.log


def test_the_action_installs_its_own_revision(workflow: Workflow, tmp_path: Path) -> None:
    action = tmp_path / "action"
    action.mkdir()
    for name in ("action.yml", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, action)
    shutil.copytree(
        ROOT / "django_querybudget",
        action / "django_querybudget",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    environment = tmp_path / "environment"
    # With the pip that is here: to install one takes three seconds.
    command = [sys.executable, "-m", "venv", "--without-pip", environment]
    subprocess.run(command, check=True, timeout=120)
    (packages,) = environment.glob("lib/python*/site-packages")
    # The project's requirements, and what installs and builds a package: those that are here.
    (packages / "here.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    runner = Runner(action, workflow.origin, tmp_path / "other")
    # No index is asked: that build isolation is off is spelled so.
    runner.environment |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    python = str(environment / "bin" / "python")
    tests = f"pytest {' '.join(WITHOUT)}"
    job = runner.run(tests=tests, python=python, base="main")
    assert (job.failed, job.ran) == ("", [LOOK, INSTALL, TESTS, COMPARE, JUDGE]), job.log
    assert (packages / "django_querybudget" / "ratchet").is_dir()


def test_the_runner_of_these_tests_knows_what_it_does_not_know() -> None:
    contexts = {"github": {"event": {"a": {"b": "c"}}}, "inputs": {"x-y": "1"}}
    assert evaluated("github.event.no.b || github.event.a.b", contexts) == "c"
    assert evaluated("inputs.x-y == '1' && inputs.x-y != '2'", contexts) is True
    assert filled("<${{ inputs.no }}|${{ 'it''s' }}>", contexts) == "<|it's>"
    for unknown in ("env.A", "always()", "inputs.a[0]", "inputs.a inputs.b", "!inputs.a", "'a"):
        with pytest.raises(UnknownExpression):
            evaluated(unknown, contexts)
