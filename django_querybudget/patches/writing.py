"""Findings become patches: :func:`patches_of`."""

from __future__ import annotations

import ast
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from django_querybudget.nplusone import Finding, Fix
from django_querybudget.nplusone.plain import finding_id, plain
from django_querybudget.ratchet.details import table_of
from django_querybudget.ratchet.last_fix import key_of
from django_querybudget.stacks import Origin

from .chains import queryset_edits
from .classes import class_edit
from .edits import Edit
from .loops import loop_edits, statement_around
from .modules import by_modules
from .patch import Found, NotWritten, Patch
from .source_text import SourceText
from .unwritable import Unwritable
from .values import GivenValue, given_in, with_values

__all__ = ["WrittenPatches", "patches_of", "source_below"]


@dataclass
class WrittenPatches:
    """What came of the findings of one scope."""

    patches: dict[str, tuple[Patch, int]] = field(default_factory=dict)
    """By key, with how many queries each is to save."""
    left: list[NotWritten] = field(default_factory=list)


def patches_of(findings: Iterable[Finding], root: Path) -> WrittenPatches:
    """Return the patches of findings; those that share a line are one.

    ``root`` is the project's: nothing outside of it is written.
    """
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.fix or id(finding), []).append(finding)
    written = WrittenPatches()
    for group in groups.values():
        found = tuple(_found(each, root) for each in group)
        fix = group[0].fix
        code = (fix.code if fix is not None else group[0].use) or ""
        try:
            edits = _Writer(root).edits(group)
        except Unwritable as reason:
            written.left += [NotWritten(each, str(reason), code) for each in found]
            continue
        patch = Patch(tuple(dict.fromkeys(sorted(edits))), tuple(dict.fromkeys(found)))
        saves = sum(each.saves for each in group)
        before = written.patches.get(patch.key)
        written.patches[patch.key] = patch, saves + (before[1] if before else 0)
    return written


def _found(finding: Finding, root: Path) -> Found:
    origin, file = finding.origin, ""
    if origin is not None:
        with suppress(Unwritable):
            file = _path_below(root, origin.filename)
    identity = finding_id(plain(finding), table_of(finding))
    return Found(
        finding.cause.value,
        finding.relation,
        str(origin or "an unknown line"),
        key_of(identity, "" if origin is None else origin.place),
        file,
    )


class _Writer:
    def __init__(self, root: Path) -> None:
        self.root = root

    def edits(self, group: list[Finding]) -> list[Edit]:
        """Return the edits of findings that share a fix."""
        fix = group[0].fix
        if fix is None and all(each.use is None for each in group):
            raise Unwritable(group[0].hint or "no line is known that would save them")
        edits: list[Edit] = []
        given: list[GivenValue] = []
        for finding in group:
            if finding.use is not None:
                found, values = self._use(finding)
                edits += found
                given += values
        if fix is not None:
            edits += self._fix(fix, group, given)
        return edits

    def _use(self, finding: Finding) -> tuple[list[Edit], list[GivenValue]]:
        """Return the edits at the line itself, and the values that stand in what they replace."""
        origin, use = finding.origin, finding.use or ""
        if finding.replaces is None or origin is None:
            raise Unwritable("what it is to read is in a template, or in no expression of Python")
        source, path = source_below(self.root, origin.filename)
        found = _at(source, finding.replaces, origin.line)
        if not found:
            raise Unwritable(f"{finding.replaces} does not stand at {path}:{origin.line}")
        given: list[GivenValue] = []
        for _, _, node in found:
            given += given_in(source, node)
        new = with_values(use, given, source, origin.line, at_line=True)
        edits = [
            Edit(path, start, end, _spelled(new, source, node, finding.replaces))
            for start, end, node in found
        ]
        return edits, given

    def _fix(self, fix: Fix, group: list[Finding], given: list[GivenValue]) -> list[Edit]:
        place = fix.place
        if place is None:
            raise Unwritable("where its queryset is built is not known")
        if place.template and not place.filename.endswith(".py"):
            raise Unwritable(f"{place.place} is a template: its view's queryset is not known")
        source, path = source_below(self.root, place.filename)
        code = fix.code
        # Of a loop's own values nothing is known before it.
        code = with_values(code, given, source, place.line, at_line=False)
        code, needed = by_modules(source, path, code, fix.imports)
        imports = [Edit(path, 0, 0, imports=needed)] if needed else []
        if fix.where == "in the class at":
            return [class_edit(source, path, code, place.line), *imports]
        if fix.in_loop:
            return [*loop_edits(source, path, fix, group[0], code), *imports]
        if "\n" in code:
            raise Unwritable("it is several statements")
        edits = queryset_edits(
            source,
            path,
            code,
            self._lines(source, place, fix),
            filename=place.filename,
            replaces=fix.replaces,
            handed_on=not fix.built,
        )
        if not edits:
            raise Unwritable("nothing of it is to be added there")
        return [*edits, *imports]

    def _lines(self, source: SourceText, place: Origin, fix: Fix) -> tuple[int, int]:
        """Return the lines that the queryset's start may stand at."""
        if fix.where == "at" and place.host is not None:
            for node in ast.walk(source.tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                    if first <= place.line <= node.body[0].lineno:
                        return first, node.end_lineno or first
        if fix.built:
            return place.line, place.line
        statement = statement_around(source, place.line)
        return place.line, place.line if statement is None else statement.end_lineno or place.line


def source_below(root: Path, filename: str) -> tuple[SourceText, str]:
    """Return a file's text, and its path below ``root``. Raises :class:`Unwritable`."""
    path = _path_below(root, filename)
    try:
        return _read(filename, Path(filename).stat().st_mtime_ns), path
    except (OSError, SyntaxError) as error:
        raise Unwritable(f"{path} has no source that can be read: {error}") from error


def _spelled(new: str, source: SourceText, node: ast.expr, replaces: str) -> str:
    """Return ``new`` with what it falls back to as the source spells it, quotes and all."""
    written = source.segment(node)
    return new if "\n" in written or "#" in written else new.replace(replaces, written)


def _at(source: SourceText, replaces: str, line: int) -> list[tuple[int, int, ast.expr]]:
    """Return where an expression stands that a line runs: its span, and its node."""
    if replaces.startswith("async for "):
        return _at_async_for(source, replaces, line)
    return [
        (source.start_of(node), source.end_of(node), node)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.expr)
        and node.lineno <= line <= (node.end_lineno or 0)
        and ast.unparse(node) == replaces
    ]


def _at_async_for(source: SourceText, replaces: str, line: int) -> list[tuple[int, int, ast.expr]]:
    found = []
    for node in ast.walk(source.tree):
        match node:
            case ast.AsyncFor(target=target, iter=iterated):
                pass
            case ast.comprehension(target=target, iter=iterated, is_async=1):
                pass
            case _:
                continue
        text = f"async for {ast.unparse(target)} in {ast.unparse(iterated)}"
        if target.lineno <= line <= (iterated.end_lineno or 0) and text == replaces:
            start = source.text.rfind("async", 0, source.start_of(target))
            found.append((start, source.end_of(iterated), iterated))
    return found


@lru_cache(maxsize=128)
def _read(filename: str, changed: int) -> SourceText:
    del changed
    source = SourceText(Path(filename).read_bytes())
    _ = source.tree
    return source


@lru_cache(maxsize=1)
def _outside() -> tuple[str, ...]:
    paths = {*sysconfig.get_paths().values(), sys.prefix, *site.getsitepackages()}
    return tuple(os.path.realpath(each) for each in paths)


def _path_below(root: Path, filename: str) -> str:
    """Return a file's path below ``root``. Raises :class:`Unwritable` for another's."""
    if filename.startswith("<") or not Path(filename).is_file():
        raise Unwritable(f"{filename} has no source file: its code is generated")
    real, base = os.path.realpath(filename), os.path.realpath(root)
    relative = os.path.relpath(real, base)
    installed = {"site-packages", "dist-packages"} & set(Path(real).parts)
    inside = not relative.startswith(("..", os.sep))
    outside = any(
        real.startswith(f"{each}{os.sep}") and not base.startswith(f"{each}{os.sep}")
        for each in _outside()
        if each != base
    )
    if not inside or installed or outside:
        raise Unwritable(f"{filename} is not in the project: what stands elsewhere is not patched")
    return Path(relative).as_posix()
