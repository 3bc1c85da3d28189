"""What an audit says: one frozen record for each finding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from fnmatch import fnmatchcase


class Severity(Enum):
    """How sure and how costly; the order is from the least to the most."""

    INFO = 1
    WARNING = 2
    ERROR = 3


class FindingKind(StrEnum):
    """The kinds of findings; ``docs/how-to/indexes`` explains each, and what to do."""

    MISSING = "missing"
    """A model declares it, the database does not have it."""
    RENAMED = "renamed"
    """The database has it under another name."""
    INVALID = "invalid"
    """The database has it and does not use it: a concurrent build failed."""
    EXTRA = "extra"
    """The database has it, no model declares it."""
    DUPLICATE = "duplicate"
    """Another index has the same columns."""
    REDUNDANT = "redundant"
    """A unique field, a unique constraint or a foreign key already gives it."""
    PREFIX = "prefix"
    """A longer index begins with its columns: usually redundant."""
    UNUSED = "unused"
    """No query used it since the database began to count."""
    UNINDEXED_FOREIGN_KEY = "unindexed-foreign-key"
    """Deleting the parent and following the relation backwards read the whole table."""


SEVERITIES = {
    FindingKind.MISSING: Severity.ERROR,
    FindingKind.INVALID: Severity.ERROR,
    FindingKind.RENAMED: Severity.WARNING,
    FindingKind.EXTRA: Severity.WARNING,
    FindingKind.DUPLICATE: Severity.WARNING,
    FindingKind.REDUNDANT: Severity.WARNING,
    FindingKind.UNUSED: Severity.WARNING,
    FindingKind.UNINDEXED_FOREIGN_KEY: Severity.WARNING,
    FindingKind.PREFIX: Severity.INFO,
}


@dataclass(frozen=True, kw_only=True)
class IndexFinding:
    """One thing to look at, with the way out."""

    kind: FindingKind
    model: str
    """The model's label, ``payment.Payment``."""
    table: str
    index: str
    """The index's name, else its columns: ``(payer_id)``."""
    message: str
    hint: str
    documented: bool = False
    """Whether the index comes from a documented set."""
    implied: bool = False
    """Whether a field makes the index, and no ``Meta`` names it."""
    size: int | None = None
    """Bytes on disk; None where not known."""

    @property
    def severity(self) -> Severity:
        """How sure and how costly."""
        return Severity.INFO if self.documented else SEVERITIES[self.kind]

    @property
    def key(self) -> str:
        """What a baseline file remembers: the same on every machine and in every run."""
        return f"{self.kind}:{self.table}:{self.index}"

    def is_ignored(self, patterns: tuple[str, ...]) -> bool:
        """Return whether a pattern names its model (``payment.*``) or its index."""
        return any(
            fnmatchcase(self.model, pattern) or fnmatchcase(self.index, pattern)
            for pattern in patterns
        )
