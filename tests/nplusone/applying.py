"""Suggestions put to the test: their text written into the source of the views and models."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest
from django.db import models
from django.db.models.functions import Coalesce

import accounts.models
import jobs.models
import payment.models
import rating.models
from django_querybudget.nplusone import Cause, Finding, Fix

from . import models as library
from .corpus import fixes_of

MARKETPLACE = (accounts.models, jobs.models, payment.models, rating.models)
MODELS = (*MARKETPLACE, library)
# What a suggested line may name, and a module then has to import.
KNOWN = {
    "Coalesce": Coalesce,
    **{
        name: value
        for module in (models, *MARKETPLACE)
        for name, value in vars(module).items()
        if name[0].isupper()
    },
}


_ADDED = ("select_related", "prefetch_related", "annotate", "only", "defer")


class _WriteQueryset(ast.NodeTransformer):
    """Writes a line where it says: after what it starts from, before the rest of the chain."""

    def __init__(self, fix: Fix) -> None:
        assert fix.place is not None
        self.written = 0
        self._line = fix.place.line
        # What is evaluated stands further down in its statement.
        self._last = fix.place.line + (0 if fix.built else 25)
        chain = ast.parse(fix.code, mode="eval").body
        self._only = self._take_only(chain)
        start = chain if self._only is None else chain.func.value  # type: ignore[attr-defined]
        self._expression = start
        while isinstance(start, ast.Call) and start.func.attr in _ADDED:  # type: ignore[attr-defined]
            start = start.func.value  # type: ignore[attr-defined]
        self._start: Any = start
        self._method = start.func.attr if isinstance(start, ast.Call) else start.attr  # type: ignore[attr-defined]

    def _take_only(self, chain: Any) -> list[ast.expr] | None:
        return chain.args if chain.func.attr == "only" else None

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        method = getattr(node.func, "attr", "")
        if self._only is not None and method == "only":  # It stands after ours: it would undo it.
            node.args = self._only
        return self._with_line(node) if isinstance(self._start, ast.Call) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        called = isinstance(self._start, ast.Call) or node.attr != self._method
        return node if called else self._with_line(node)

    def _with_line(self, node: ast.Call | ast.Attribute) -> ast.AST:
        exact = self._method == "objects" or isinstance(self._start, ast.Call)
        if exact and ast.unparse(node) != ast.unparse(self._start):
            return node
        if self.written or not self._line <= node.lineno <= self._last:
            return node
        self.written += 1
        text = ast.unparse(self._expression).replace(
            ast.unparse(self._start), f"({ast.unparse(node)})", 1
        )
        return ast.parse(text, mode="eval").body


class _JoinLess(ast.NodeTransformer):
    """Replaces what a ``select_related()`` names by what was read of it."""

    def __init__(self, fix: Fix) -> None:
        assert fix.place is not None
        self.written = 0
        self._line = fix.place.line
        chain: Any = ast.parse(fix.code, mode="eval").body
        self._start = ast.unparse(chain.func.value)
        self._arguments = chain.args

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        starts = any(
            each.lineno == self._line and ast.unparse(each) == self._start
            for each in ast.walk(node.func)
            if isinstance(each, ast.Attribute)
        )
        if starts and getattr(node.func, "attr", "") == "select_related":
            self.written += 1
            node.args = self._arguments
        return node


class _Replace(ast.NodeTransformer):
    """Replaces an expression of a line by what is to be read there."""

    def __init__(self, finding: Finding) -> None:
        assert finding.origin is not None
        assert finding.use is not None
        self.written = 0
        self._line, self._replaces = finding.origin.line, finding.replaces
        self._use = ast.parse(finding.use, mode="eval").body

    def visit(self, node: ast.AST) -> ast.AST:
        if (
            isinstance(node, ast.expr)
            and node.lineno <= self._line <= (node.end_lineno or 0)
            and ast.unparse(node) == self._replaces
        ):
            self.written += 1
            return self._use
        return super().generic_visit(node)


class _Insert(ast.NodeTransformer):
    """Writes a statement before the one that a line is of."""

    def __init__(self, fix: Fix) -> None:
        assert fix.place is not None
        self.written = 0
        self._line = fix.place.line
        self._statements = ast.parse(fix.code).body

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        for position, statement in enumerate(node.body):
            if statement.lineno <= self._line <= (statement.end_lineno or 0):
                self.written += 1
                node.body[position:position] = self._statements
                break
        return node


def _edits(findings: Iterable[Finding]) -> list[tuple[str, Any]]:
    """Return each edit with the file that it is for."""
    edits: list[tuple[str, Any]] = []
    findings = tuple(findings)
    unread = [each for each in findings if each.cause is Cause.UNUSED_EAGER_LOAD]
    for fix in fixes_of(unread):
        assert fix.place is not None
        edits.append((fix.place.filename, _JoinLess(fix)))
    loops = [each for each in findings if each.cause is not Cause.UNUSED_EAGER_LOAD]
    for finding in loops:
        if finding.use is not None:
            assert finding.origin is not None
            assert finding.replaces is not None, finding
            edits.append((finding.origin.filename, _Replace(finding)))
    for fix in fixes_of(loops):
        assert fix.place is not None
        statement = isinstance(ast.parse(fix.code).body[0], ast.Assign)
        edits.append((fix.place.filename, _Insert(fix) if statement else _WriteQueryset(fix)))
    return edits


class Applied:
    """The project's modules with all that was suggested written into their source."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._edits = _edits(findings)
        self._written = 0

    def module(self, module: ModuleType) -> ModuleType:
        """Return a copy of a module, edited."""
        tree = self._tree(module)
        new = types.ModuleType(module.__name__)
        own = vars(library) if module.__package__ == __package__ else {}
        new.__dict__.update({**KNOWN, **own}, __file__=module.__file__)
        new.__spec__, new.__package__ = module.__spec__, module.__package__
        exec(compile(tree, str(module.__file__), "exec"), new.__dict__)  # noqa: S102
        return new

    def patch_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put edited functions and properties of model classes in the place of theirs."""
        for module in MODELS:
            for model in self._tree(module).body:
                if not isinstance(model, ast.ClassDef):
                    continue
                original = inspect.getsource(getattr(module, model.name))
                for function in model.body:
                    if not isinstance(function, ast.FunctionDef):
                        continue
                    if ast.unparse(function) not in ast.unparse(ast.parse(original)).replace(
                        "\n    ", "\n"
                    ):
                        namespace = {**KNOWN, **vars(module)}
                        one = ast.Module(body=[function], type_ignores=[])
                        exec(compile(one, str(module.__file__), "exec"), namespace)  # noqa: S102
                        changed = namespace[function.name]
                        monkeypatch.setattr(getattr(module, model.name), function.name, changed)

    def check(self) -> None:
        """Assert that each suggestion was written, once."""
        assert [edit.written for _, edit in self._edits] == [1] * len(self._edits)

    def _tree(self, module: ModuleType) -> ast.Module:
        tree = ast.parse(inspect.getsource(module))
        for filename, edit in self._edits:
            if filename == module.__file__:
                tree = edit.visit(tree)
        return ast.fix_missing_locations(tree)
