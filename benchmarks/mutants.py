"""Mutants of one module: each is planted alone, and some test of those given has to fail.

Run it in a copy of the repository, since it writes each mutant into the module's file, for the
processes that tests start::

    git worktree add ../mutants
    cd ../mutants
    PYTHONPATH=.:testproject python benchmarks/mutants.py MODULE.py TESTS.py … [--minutes 10]

The tests run once as they are, and it is noted which lines of the module each one runs. A mutant in
a function is then planted by its code in a fork of that process, and the tests that run its line
follow, the quickest first, until one fails. One outside of any function takes a run of its own.
The order is drawn (``--seed``), so that what was done within ``--minutes`` is a sample of all.
A test has to fail twice.
``tests/mutants.md`` says which mutants survive, and why.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import gc
import os
import random
import select
import signal
import subprocess
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Change = Callable[[Any], ast.AST]
Where = tuple[tuple[str, int | None], ...]

COMPARISONS: dict[type, list[type]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.FloorDiv: ast.Mult,
}
# What a mutant of would be no behaviour: imports, messages, types.
SKIPPED = ("logger.", "self._log(", "__all__", "if TYPE_CHECKING")
NOT_PLANTED = "not planted"  # code that needs another closure: without its only super(), say
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "bases"}


@dataclass
class Mutant:
    """A module with one thing changed."""

    tree: ast.Module
    lines: range
    what: str
    function: tuple[str, ...]
    """The names that lead to the function, or nothing."""

    def __str__(self) -> str:
        return f"{self.lines[0]}: {self.what}"


def changes(node: ast.AST) -> Iterator[Change]:
    """Yield what makes another node of ``node``, or of a copy of it."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in COMPARISONS.get(type(operator), []):
                yield functools.partial(_operator, at=at, other=other)
    elif isinstance(node, ast.BoolOp):
        for at in range(len(node.values)):
            yield functools.partial(_without, at=at)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda it: it.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        other = OPERATORS[type(node.op)]
        yield lambda it: ast.BinOp(it.left, other(), it.right)
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        for value in (False,) if isinstance(node, ast.While) else (False, True):
            yield functools.partial(_tested, value=value)
    else:
        yield from _statements(node)


def _constants(node: ast.Constant) -> Iterator[Change]:
    value: Any = node.value
    if isinstance(value, bool):
        yield lambda it: ast.Constant(not it.value)
    elif isinstance(value, int | float):
        yield lambda it: ast.Constant(it.value + 1)
    elif isinstance(value, str | bytes) and value:
        more: Any = "XX" if isinstance(value, str) else b"XX"
        yield lambda it: ast.Constant(more + it.value)


def _statements(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant | None):
        yield lambda _: ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Break):
        yield lambda _: ast.Continue()
    elif isinstance(node, ast.Continue):
        yield lambda _: ast.Break()
    elif (
        isinstance(node, ast.AugAssign | ast.Raise)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        or (isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple))
    ):
        yield lambda _: ast.Pass()


def _operator(node: ast.Compare, at: int, other: type) -> ast.AST:
    node.ops[at] = other()
    return node


def _without(node: ast.BoolOp, at: int) -> ast.AST:
    del node.values[at]
    return node if len(node.values) > 1 else node.values[0]


def _tested(node: Any, value: bool) -> ast.AST:
    node.test = ast.Constant(value)
    return node  # type: ignore[no-any-return]


def mutants_of(source: str) -> list[Mutant]:
    """Return all mutants of a module's text."""
    module = ast.parse(source)
    return [
        _mutant(module, where, change, function)
        for node, where, function in _nodes(module, (), (), inside=False)
        for change in changes(node)
    ]


def _nodes(
    node: ast.AST, where: Where, names: tuple[str, ...], *, inside: bool
) -> Iterator[tuple[ast.AST, Where, tuple[str, ...]]]:
    if isinstance(node, ast.stmt) and (
        ast.unparse(node).startswith(SKIPPED)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ):
        return
    yield node, where, names if inside else ()
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return
    if not inside and (is_function or isinstance(node, ast.ClassDef)):
        names, inside = (*names, node.name), is_function  # type: ignore[attr-defined]  # a function or a class
    for name, value in ast.iter_fields(node):
        if name in SKIPPED_FIELDS or (is_function and name == "args"):
            continue
        listed = isinstance(value, list)
        for at, each in enumerate(value if listed else [value]):
            if isinstance(each, ast.AST):
                place = (*where, (name, at if listed else None))
                yield from _nodes(each, place, names, inside=inside)


def _mutant(module: ast.Module, where: Where, change: Change, names: tuple[str, ...]) -> Mutant:
    tree = copy.deepcopy(module)
    parent: Any = tree
    for name, at in where[:-1]:
        parent = getattr(parent, name) if at is None else getattr(parent, name)[at]
    name, at = where[-1]
    old = getattr(parent, name) if at is None else getattr(parent, name)[at]
    before = ast.unparse(old)
    new = ast.copy_location(change(copy.deepcopy(old)), old)
    if at is None:
        setattr(parent, name, new)
    else:
        getattr(parent, name)[at] = new
    ast.fix_missing_locations(tree)
    what = " ".join(f"{before} -> {ast.unparse(new)}".split())
    last = getattr(old, "test", old).end_lineno  # of an if, not with all that follows
    return Mutant(tree, range(old.lineno, last + 1), what[:160], names)


class Run:
    """A plugin of pytest that runs the tests as they are, then for each mutant."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.path = Path(options.module).resolve()
        self.source = self.path.read_text()
        self.failed = False
        self.lines: dict[str, set[int]] = {}
        self.seconds: dict[str, float] = {}
        self.memos: list[Callable[[], None]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = self.measure(session)
        name, path = self.path.stem, str(self.path)
        (module,) = (
            each for each in list(sys.modules.values()) if getattr(each, "__file__", "") == path
        )
        mutants = [each for each in mutants_of(self.source) if each.lines[0] in self.options.lines]
        random.Random(self.options.seed).shuffle(mutants)  # noqa: S311  # a sample
        print(f"\n{name}: {len(mutants)} mutants, {len(items)} tests")
        if (result := self.attempt(module, None, items)) != "survived":
            raise RuntimeError(f"Without a mutant, {result}: the tests cannot be run in a fork.")
        counts: Counter[str] = Counter()
        end = time.monotonic() + 60 * self.options.minutes
        for mutant in mutants:
            if time.monotonic() > end:
                break
            tests = sorted(
                (item for item in items if self.lines[item.nodeid].intersection(mutant.lines)),
                key=lambda item: self.seconds[item.nodeid],
            )
            if not mutant.function:
                result = self.alone(mutant)
            elif tests:
                result = self.attempt(module, mutant, tests)
                if result == NOT_PLANTED:
                    result = self.alone(mutant)
            else:  # or as the module is imported
                result = "killed" if self.alone(mutant) == "killed" else "runs in no test"
            counts[result] += 1
            if not result.startswith("killed"):
                print(f"{result}: {mutant}", flush=True)
        print(f"{name}: {sum(counts.values())} of {len(mutants)}, {dict(counts)}")
        return True

    def measure(self, session: pytest.Session) -> list[pytest.Item]:
        """Run all tests; return those that pass. Notes their time and the module's lines."""
        monitoring, tool, good, seen = sys.monitoring, 4, [], set()

        def on_line(code: types.CodeType, line: int) -> object:
            if code.co_filename == str(self.path):
                seen.add(line)
            return monitoring.DISABLE

        monitoring.use_tool_id(tool, "mutants")
        monitoring.register_callback(tool, monitoring.events.LINE, on_line)
        for number, item in enumerate(session.items):
            seen.clear()
            monitoring.restart_events()
            monitoring.set_events(tool, monitoring.events.LINE)
            started = time.monotonic()
            following = session.items[number + 1] if number + 1 < len(session.items) else session
            if self.passes(item, following):
                good.append(item)
            self.seconds[item.nodeid] = time.monotonic() - started
            monitoring.set_events(tool, 0)
            self.lines[item.nodeid] = set(seen)
        monitoring.free_tool_id(tool)
        return good

    def passes(self, item: pytest.Item, following: Any) -> bool:
        for forget in self.memos or self._find_memos():
            forget()  # what was remembered of a text would hide a mutant
        self.failed = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return not self.failed

    def _find_memos(self) -> list[Callable[[], None]]:
        from django_querybudget.sql.memory import Memo

        gc.unfreeze()  # the suite's, or nothing that was there before the tests is found
        for each in gc.get_objects():
            if isinstance(each, Memo):
                self.memos.append(each.forget)
            elif isinstance(each, functools._lru_cache_wrapper) and str(each.__module__).startswith(
                "django_querybudget"
            ):
                self.memos.append(each.cache_clear)
        self.memos.append(_forget_forms)
        return self.memos

    def attempt(self, module: Any, mutant: Mutant | None, tests: list[Any]) -> str:
        """Run ``tests`` in a fork with the mutant planted, until one fails."""
        try:
            if mutant is not None:
                self.path.write_text(ast.unparse(mutant.tree))
            return self._forked(module, mutant, tests)
        finally:  # also after Ctrl-C: the module is a file of the working tree
            self.path.write_text(self.source)

    def _forked(self, module: Any, mutant: Mutant | None, tests: list[Any]) -> str:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            code = 2
            try:
                os.setpgid(0, 0)
                code = self._in_the_fork(module, mutant, tests, writing)
            finally:
                os._exit(code)
        os.close(writing)
        late, stopped = "", False
        while select.select([reading], [], [], 15 + 10 * self.seconds.get(late, 0))[0]:
            if not (told := os.read(reading, 65536).decode()):
                break
            late = told.strip().rpartition("\n")[2]
        else:
            os.killpg(child, signal.SIGKILL)
            stopped = True
        os.close(reading)
        status = os.waitpid(child, 0)[1]
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # servers of a test that could not tear down
        if stopped:
            return f"stopped for time in {late}"  # which proves nothing
        if status == 0:
            return "survived"
        if not late:
            return NOT_PLANTED
        return f"killed by {late}" if mutant is None else "killed"

    def _in_the_fork(
        self, module: Any, mutant: Mutant | None, tests: list[Any], writing: int
    ) -> int:
        if mutant is not None:
            plant(module, mutant, str(self.path))
        _leave_connections()
        for number, item in enumerate(tests):
            following = tests[number + 1] if number + 1 < len(tests) else item.session
            for _ in range(2):  # a test may fail once where the machine has more to do
                os.write(writing, f"{item.nodeid}\n".encode())
                if self.passes(item, following):
                    break
            else:
                return 1
        return 0

    def alone(self, mutant: Mutant) -> str:
        """Run all tests in a process of their own."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--reuse-db", *self.options.tests]
        self.path.write_text(ast.unparse(mutant.tree))
        try:
            done = subprocess.run(command, capture_output=True, timeout=300, check=False)
        except subprocess.TimeoutExpired:
            return "stopped for time"
        finally:
            self.path.write_text(self.source)
        return "killed" if done.returncode else "survived"


def plant(module: Any, mutant: Mutant, path: str) -> None:
    """Give the function its mutant's code, wherever it is held."""
    code = compile(mutant.tree, path, "exec", dont_inherit=True)
    for name in mutant.function:
        code = next(
            each
            for each in code.co_consts
            if isinstance(each, types.CodeType) and each.co_name == name
        )
    for each in gc.get_objects():
        if (
            isinstance(each, types.FunctionType)
            and each.__module__ == module.__name__
            # By its code: what wraps it has its name.
            and each.__code__.co_qualname == ".".join(mutant.function)
        ):
            each.__code__ = code


def _forget_forms() -> None:
    from django_querybudget.cache.writing import forms

    forms._memos = forms._Memos(None)  # made anew for each state of the registry


_left: list[Any] = []


def _leave_connections() -> None:
    """Those to servers are the parent's; the fork opens its own."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        if connection.vendor != "sqlite" and connection.connection is not None:
            _left.append(connection.connection)
            connection.connection = None


def _lines(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-k", default="", help="which tests, as pytest's")
    parser.add_argument("--lines", type=_lines, default=range(10**6), help="which, as 10-20")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the module is put back
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    arguments = ["-q", "-s", "-p", "no:cacheprovider", "--reuse-db", "-k", options.k]
    sys.exit(pytest.main([*arguments, *options.tests], plugins=[Run(options)]))


if __name__ == "__main__":
    main()
