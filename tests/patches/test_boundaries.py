"""What ``fix`` never writes: others' code, what a person is changing, two lines for one place."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import django
import pytest

from django_querybudget.patches.edits import Contradiction, Edit, combined
from django_querybudget.patches.fixing import Wanted
from django_querybudget.patches.judged import Judged
from django_querybudget.patches.patch import Patch
from django_querybudget.patches.proving import Proof
from django_querybudget.patches.rehearsals import Suite
from django_querybudget.patches.report import as_data, as_text, diff_of
from django_querybudget.patches.unwritable import Unwritable
from django_querybudget.patches.writing import source_below

from .project import git
from .small import Told

pytestmark = pytest.mark.once


VENDORED = """\
from shop.models import Book


def names(model):
    return [book.author.name for book in Book.objects.all()]
"""


def test_a_package_is_not_written_wherever_it_is_installed(tmp_path: Path) -> None:
    own = tmp_path / "shop.py"
    inside = tmp_path / ".venv" / "lib" / "python3.13" / "site-packages" / "lib.py"
    inside.parent.mkdir(parents=True)
    for path in (own, inside):
        path.write_text("rows = []\n")
    link = tmp_path / "django_linked.py"
    link.symlink_to(django.__file__)
    assert source_below(tmp_path, str(own))[1] == "shop.py"
    for path in (inside, Path(django.__file__), link):
        with pytest.raises(Unwritable, match="is not in the project: what stands elsewhere is not"):
            source_below(tmp_path, str(path))
    with pytest.raises(Unwritable, match="has no source file: its code is generated"):
        source_below(tmp_path, "<string>")


def test_a_submodule_and_a_changed_file_are_left_and_named(project: Path) -> None:
    library = project.parent / "library"
    library.mkdir()
    (library / "__init__.py").write_text(VENDORED)
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "All"]):
        git(library, *command)
    views = project / "shop/views.py"
    views.write_text(views.read_text().replace("import outside", "import vendored as outside"))
    git(
        project,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        str(library),
        "vendored",
    )
    git(project, *who, "commit", "-qam", "Vendored")
    # What a person is at.
    views.write_text(views.read_text() + "\n# to be continued\n")
    before = views.read_bytes()

    told = Told(Wanted(apply=True))
    assert told.status == 1, told.err
    assert told.err == [
        "Wrote shop/odd.py.",
        "Not written: shop/views.py: it has changes that are not committed.",
        "Not all that is proved was written.",
    ]
    assert (
        "because vendored/__init__.py is in the submodule vendored: run fix in its own repository"
        in told.text
    )
    assert "vendored/__init__.py" not in told.text.partition("--- a/")[2]
    assert views.read_bytes() == before
    assert (project / "vendored/__init__.py").read_text() == VENDORED
    assert b'select_related("author")' in (project / "shop/odd.py").read_bytes()
    assert git(project, "diff", "--name-only").split() == ["shop/odd.py", "shop/views.py"]


def test_edits_of_one_expression_are_one_or_a_contradiction() -> None:
    calls = Edit("a.py", 4, 4, calls=('.select_related("author")',))
    more = Edit("a.py", 4, 4, calls=('.select_related("author__publisher")', ".only('pk')"))
    other = Edit("b.py", 4, 9, "x")
    (one, kept) = combined([other, more, calls, calls])
    assert one.calls == ('.select_related("author__publisher")', ".only('pk')")
    assert kept == other
    beside = Edit("a.py", 9, 12, "y")
    for first, second in (
        (Edit("a.py", 4, 9, "x"), Edit("a.py", 4, 9, "y")),
        (Edit("a.py", 4, 9, "x"), Edit("a.py", 8, 12, "x")),
        (Edit("a.py", 4, 9, "x"), Edit("a.py", 5, 5, calls=(".all()",))),
        (Edit("a.py", 4, 4, "x"), Edit("a.py", 4, 4, "y")),
    ):
        with pytest.raises(Contradiction, match=r"changes the same expression of a\.py"):
            combined([second, beside, first])
    assert combined([beside, Edit("a.py", 4, 9, "x")])[1] == beside


def _suite(folder: Path) -> Suite:
    return Suite("test", (), (str(folder / "manage.py"),))


def _of(proof: Proof, view: str) -> Judged:
    """Return the patch that saves queries in one view alone."""
    (found,) = [
        each
        for each in proof.judged.values()
        if {
            scope.view
            for scopes in proof.baseline.first.scopes.values()
            for scope in scopes
            if each.patch.key in scope.saves
        }
        == {f"GET {view}"}
    ]
    return found


def test_of_two_lines_for_one_expression_the_better_stands(project: Path) -> None:
    with Proof(project, _suite(project)) as proof:
        proof.find()
        right = _of(proof, "read")
        text = proof.before("shop/views.py").decode()
        start = text.index("book.author.name for book in Book.objects.all()]\n    return Json")
        end = text.index("]", start)
        other = Patch(
            (Edit("shop/views.py", start, end, "None for book in ()"),), right.patch.found
        )
        proof.judged = {each.patch.key: each for each in (Judged(other, 1), right)}
        proof.prove()
        told = as_text(proof)
    assert right.outcome == "proved"
    (left,) = [each for each in proof.judged.values() if each is not right]
    assert left.outcome == "withdrawn"
    assert (
        "because it cannot be written: another patch changes the same expression of shop/views.py: "
        "once that is written, run fix again"
    ) in told


@pytest.mark.slow  # it runs a suite several times
def test_what_was_proved_before_the_time_was_over_stands(project: Path) -> None:
    def tell(line: str) -> None:
        if proof.proved and line.startswith("Proving"):
            proof.deadline = time.monotonic()

    with Proof(project, _suite(project), tell=tell) as proof:
        proof.find()
        # One is wrong, so that they are not proved together.
        found = _of(proof, "odd")
        wrong = tuple(
            replace(each, calls=('.select_related("autor")',)) if each.calls else each
            for each in found.patch.edits
        )
        key = found.patch.key
        patch = Patch(wrong, found.patch.found)
        del proof.judged[key]
        proof.judged[patch.key] = replace(found, patch=patch)
        for scope in (each for some in proof.baseline.first.scopes.values() for each in some):
            if key in scope.saves:
                scope.saves[patch.key] = scope.saves.pop(key)
        proof.find = lambda: None  # type: ignore[method-assign]
        proof.run()
        told, data, diff = as_text(proof), as_data(proof), diff_of(proof).decode("latin-1")
    assert proof.is_over_time
    assert data["version"] == 1
    outcomes = [each["outcome"] for each in data["patches"]]
    assert {"proved", "not tried"} <= set(outcomes)
    assert told.count("Proved: ") == outcomes.count("proved")
    assert "Not tried, the time was over: " in told
    assert "The time limit came first: what is proved so far stands" in told
    assert "\n@@ " in diff
    assert "autor" not in diff
