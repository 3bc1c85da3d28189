"""Suggestions put to the test: written into the text of the views and models, as ``fix`` does."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import accounts.models
import jobs.models
import payment.models
import rating.models
from django_querybudget.nplusone import Finding
from django_querybudget.nplusone.eager import watch_eager_loads
from django_querybudget.patches.patch import Patch
from django_querybudget.patches.rendering import patched
from django_querybudget.patches.source_text import SourceText
from django_querybudget.patches.unread import UnreadLoad, removals
from django_querybudget.patches.watching import Watch
from django_querybudget.patches.writing import patches_of

from . import models as library

MARKETPLACE = (accounts.models, jobs.models, payment.models, rating.models)
MODELS = (*MARKETPLACE, library)
# Names of models that two apps have: which of them is to be imported is not known.
KNOWN = {
    name: value
    for module in MARKETPLACE
    for name, value in vars(module).items()
    if name[0].isupper()
}
ROOT = Path(__file__).parents[2]


class Applied:
    """The project's modules with all that was suggested written into their text."""

    def __init__(self, findings: Iterable[Finding], more: Iterable[Patch] = ()) -> None:
        written = patches_of(findings, ROOT)
        assert [each for each in written.left if each.code] == []
        patches = [*(patch for patch, _ in written.patches.values()), *more]
        self._edits = [edit for patch in patches for edit in patch.edits]

    def module(self, module: ModuleType) -> ModuleType:
        """Return a copy of a module, edited."""
        new = types.ModuleType(module.__name__)
        own = vars(library) if module.__package__ == __package__ else {}
        new.__dict__.update({**KNOWN, **own}, __file__=module.__file__)
        new.__spec__, new.__package__ = module.__spec__, module.__package__
        exec(compile(self.text(module), str(module.__file__), "exec"), new.__dict__)  # noqa: S102 - the lines under test are run
        return new

    def patch_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put edited functions and properties of model classes in the place of theirs."""
        for module in MODELS:
            before = _functions(Path(str(module.__file__)).read_text(encoding="utf-8"))
            for (name, method), function in _functions(self.text(module)).items():
                if ast.dump(function) == ast.dump(before[name, method]):
                    continue
                namespace = {**vars(module)}
                one = ast.Module(body=[function], type_ignores=[])
                exec(compile(one, str(module.__file__), "exec"), namespace)  # noqa: S102 - as above
                monkeypatch.setattr(getattr(module, name), method, namespace[method])

    def text(self, module: ModuleType) -> str:
        """Return a module's text, edited."""
        path = Path(str(module.__file__))
        source = SourceText(path.read_bytes())
        own = [each for each in self._edits if each.path == path.relative_to(ROOT).as_posix()]
        return patched(source, own, 100)


def removals_of(ask: Callable[[], object]) -> list[Patch]:
    """Return the patches that take out what is loaded eagerly and not read while ``ask`` runs."""
    records: list[dict[str, Any]] = []
    with watch_eager_loads(Watch(ROOT, records.append)):
        ask()
    loads = {each["id"]: UnreadLoad.from_data(each) for each in records if each["kind"] == "load"}
    read = {each["id"] for each in records if each["kind"] == "read"}
    found, left = removals(loads, read, lambda path: (ROOT / path).read_bytes())
    assert left == []
    return [each.patch for each in found]


def _functions(text: str) -> dict[tuple[str, str], ast.FunctionDef]:
    return {
        (owner.name, node.name): node
        for owner in ast.parse(text).body
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef)
    }
