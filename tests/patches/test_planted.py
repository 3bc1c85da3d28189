"""Whole proofs on a project in the styles of real ones: right lines stand, wrong ones never do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from django_querybudget.patches.edits import Edit
from django_querybudget.patches.judged import Judged
from django_querybudget.patches.patch import Patch
from django_querybudget.patches.proving import Proof
from django_querybudget.patches.rehearsals import Suite
from django_querybudget.patches.report import as_text, diff_of
from django_querybudget.patches.source_text import SourceText

from .project import STYLES, commit, contents, stand_in, write_project

pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    stand_in(folder, "site_settings", monkeypatch)
    return folder


def _suite(folder: Path) -> Suite:
    return Suite("test", (), (str(folder / "manage.py"),))


def test_real_styles_are_written_and_proved(project: Path) -> None:
    write_project(project)
    commit(project)
    before = contents(project)
    with Proof(project, _suite(project)) as proof:
        proof.run()
        assert {each.outcome for each in proof.judged.values()} == {"proved"}, as_text(proof)
        assert proof.left == []
        assert len(proof.proved) >= 45
        files = proof.files()
        folder = proof.copy.folder
        diff = diff_of(proof)
    assert not folder.exists()
    # Nothing of the project is changed, and no file is beside its files.
    assert contents(project) == before
    # Each line that is not touched has its encoding, its end and its blanks.
    for path, comment in (("odd_crlf", "für"), ("odd_latin", "für"), ("odd_tabs", "für")):
        name = f"shop/{path}.py"
        source = SourceText(before[name])
        assert comment.encode(source.encoding) in files[name]
        assert files[name].count(b"\r\n") == before[name].count(b"\r\n")
        assert files[name].count(b"\t") == before[name].count(b"\t")
        assert files[name][:3] == before[name][:3]
        assert b'select_related("author")' in files[name]
    assert b"user=request.user" in diff
    assert b"user_id=1" not in diff
    for line in diff.split(b"\n"):
        if line.startswith(b"@@"):
            assert "identical" in line.decode()


def _calls(new: str) -> Callable[[Patch, SourceText], tuple[Edit, ...]]:
    """Plant a wrong call in the place of what is added to the queryset."""

    def plant(patch: Patch, _: SourceText) -> tuple[Edit, ...]:
        return tuple(replace(each, calls=(new,)) if each.calls else each for each in patch.edits)

    return plant


def _beside(function: str, old: str, new: str) -> Callable[[Patch, SourceText], tuple[Edit, ...]]:
    """Plant a change of what else stands in the function."""

    def plant(patch: Patch, source: SourceText) -> tuple[Edit, ...]:
        at = source.text.index(old, source.text.index(f"def {function}("))
        return (*patch.edits, Edit("shop/views.py", at, at + len(old), new))

    return plant


def _use(new: str) -> Callable[[Patch, SourceText], tuple[Edit, ...]]:
    """Plant another expression at the line itself."""

    def plant(patch: Patch, _: SourceText) -> tuple[Edit, ...]:
        return tuple(
            replace(each, new=new) if each.new and not each.calls else each for each in patch.edits
        )

    return plant


PLANTED = {
    "plain_loop": _calls('.prefetch_related("tags")'),
    "comprehension": _calls('.select_related("autor")'),
    "two_relations_deep": _beside("two_relations_deep", '.filter(status="shown")', ".all()"),
    "managers_method": _beside("managers_method", 'order_by("pk")', 'order_by("-pk")'),
    "querysets_method": _calls(".all()"),
    "from_a_service": _calls('.select_related("author").filter(reviews__stars=5)'),
    "paginated": _calls('.select_related("author").filter(tags__isnull=False)'),
    "sliced": _beside("sliced", "[:5]", "[:4]"),
    "many": _calls('.prefetch_related("reviews")'),
    "many_below_many": _calls('.prefetch_related("books")'),
    "counted": _use("book.reviews_count + 1"),
    "of_the_user": _use("book.has_reviews and book.pk > 3"),
    "chosen": _use("book.reviews.all()"),
    "bypassed": _use("len(book.reviews.all())"),
    "only": _use(', "pk"'),
    "in_a_template": _calls('.select_related("author").exclude(title="book 2")'),
    "streamed": _calls('.select_related("author").reverse()'),
}
RIGHT = ("in_a_service", "with_queryset", "drf_queryset")


def _replaced(proof: Proof, judged: Judged, patch: Patch) -> None:
    """Put a patch in the place of one that was found."""
    old = judged.patch.key
    del proof.judged[old]
    proof.judged[patch.key] = replace(judged, patch=patch)
    for scopes in proof.baseline.first.scopes.values():
        for scope in scopes:
            if old in scope.saves:
                scope.saves[patch.key] = scope.saves.pop(old)


def test_no_planted_line_survives(project: Path) -> None:
    write_project(project, {name: STYLES[name] for name in (*PLANTED, *RIGHT)})
    commit(project)
    wrong: dict[str, str] = {}
    with Proof(project, _suite(project)) as proof:
        proof.find()
        source = SourceText(proof.before("shop/views.py"))
        for judged in list(proof.judged.values()):
            views = {
                scope.view.removeprefix("GET ")
                for scopes in proof.baseline.first.scopes.values()
                for scope in scopes
                if judged.patch.key in scope.saves
            }
            (name,) = views
            if name in PLANTED:
                edits = PLANTED[name](judged.patch, source)
                assert edits != judged.patch.edits, name
                patch = Patch(edits, judged.patch.found)
                _replaced(proof, judged, patch)
                wrong[patch.key] = name
        proof.prove()
        told = as_text(proof)
        survivors = [
            wrong[key]
            for key, each in proof.judged.items()
            if each.outcome == "proved" and key in wrong
        ]
        withdrawn = {
            each.patch.key for each in proof.judged.values() if each.outcome == "withdrawn"
        }
        proved = len(proof.proved)
    assert set(wrong.values()) == set(PLANTED)
    assert survivors == []
    assert withdrawn == set(wrong), told
    assert proved == len(RIGHT)
    assert told.count("because") >= len(PLANTED)
