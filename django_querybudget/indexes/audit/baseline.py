"""A file of the findings that a project lives with, so that a check fails on new ones only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from django_querybudget.exceptions import QueryBudgetError

from .audit import DatabaseAudit
from .findings import IndexFinding

_VERSION = 1


class BaselineError(QueryBudgetError):
    """The file cannot be read as a baseline; the message says why and what to do."""


@dataclass(frozen=True)
class Baseline:
    """The known findings, each as ``alias/kind:table:index``."""

    keys: frozenset[str]

    @classmethod
    def of(cls, audits: Iterable[DatabaseAudit]) -> Baseline:
        """Return the baseline that knows everything in ``audits``."""
        return cls(frozenset(_key(a.alias, finding) for a in audits for finding in a.findings))

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read the file. Raises :class:`BaselineError`."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BaselineError(
                f"There is no baseline file {path}. Write it with --write-baseline."
            ) from error
        except (OSError, ValueError) as error:
            raise BaselineError(f"The baseline file {path} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            raise BaselineError(
                f"The baseline file {path} is not of version {_VERSION}. Write it again with "
                f"--write-baseline."
            )
        findings = content.get("findings")
        if not isinstance(findings, list) or not all(isinstance(key, str) for key in findings):
            raise BaselineError(f"The baseline file {path} has no list 'findings' of strings.")
        return cls(frozenset(findings))

    def write(self, path: Path) -> None:
        """Write the file, sorted, so that a diff shows what came and went."""
        content = {"version": _VERSION, "findings": sorted(self.keys)}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def knows(self, alias: str, finding: IndexFinding) -> bool:
        """Return whether ``finding`` was there when the file was written."""
        return _key(alias, finding) in self.keys

    def gone(self, audits: Iterable[DatabaseAudit]) -> list[str]:
        """Return the entries on the audited databases that are no longer found."""
        audits = [audit for audit in audits if not audit.problems]
        aliases = {audit.alias for audit in audits}
        here = {key for key in self.keys if key.partition("/")[0] in aliases}
        return sorted(here - Baseline.of(audits).keys)


def _key(alias: str, finding: IndexFinding) -> str:
    return f"{alias}/{finding.key}"
