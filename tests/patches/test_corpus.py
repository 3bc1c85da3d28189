"""The N+1 corpus' suggestions, written into its files: each saves what was promised."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

from django_querybudget.nplusone import find_nplusone
from django_querybudget.patches.rendering import patched
from django_querybudget.patches.source_text import SourceText
from django_querybudget.patches.writing import WrittenPatches, patches_of
from tests.nplusone import cases_all, corpus
from tests.nplusone.corpus import RUN_NAMES, Case, Run
from tests.nplusone.data import fill
from tests.nplusone.test_corpus import FINDING, _run

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.once]

ROOT = Path(__file__).parents[2]
ASKED = [case for case in FINDING if case.after is not None]


def _module(case: Case, written: WrittenPatches) -> types.ModuleType:
    """Return the module of a case with the patches in it, run from its text."""
    path = Path(case.filename)
    edits = [edit for patch, _ in written.patches.values() for edit in patch.edits]
    own = [edit for edit in edits if edit.path == path.relative_to(ROOT).as_posix()]
    text = patched(SourceText(path.read_bytes()), own, 88)
    original = next(each for each in cases_all.MODULES if each.__file__ == case.filename)
    module = types.ModuleType(original.__name__)
    # RUN_NAMES: models whose names two apps have, so that nobody knows which to import.
    module.__dict__.update(RUN_NAMES, __file__=case.filename, __package__=original.__package__)
    exec(compile(text, case.filename, "exec"), module.__dict__)  # noqa: S102 - under test
    return module


def test_every_line_that_is_written_saves_what_it_promises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or it says why a person has to write it: a blank, a template, a loop to take apart."""
    fill()
    written, wrong = [], []
    for case in ASKED:
        before = _run(case, Run())
        found = patches_of(find_nplusone(before), ROOT)
        assert all(each.reason for each in found.left), case.name
        own = {Path(case.filename).relative_to(ROOT).as_posix()}
        edits = [edit for patch, _ in found.patches.values() for edit in patch.edits]
        if any(each.code for each in found.left) or {each.path for each in edits} != own:
            continue
        monkeypatch.setattr(corpus, "CASES", {})
        module = _module(case, found)
        assert module.__name__
        after = _run(corpus.CASES[case.name], Run())
        written.append(case.name)
        promised = sum(saves for _, saves in found.patches.values())
        if after.count != before.count - promised:
            wrong.append((case.name, before.count, promised, after.count, edits))
    assert wrong == []
    assert len(written) >= 130
