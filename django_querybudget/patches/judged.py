"""A patch, and what came of it: :class:`Judged`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .patch import Patch
from .verdicts import Verdict

__all__ = ["Judged"]


@dataclass
class Judged:
    """A patch, and what came of it."""

    patch: Patch
    saves: int
    """How many queries it was to save over all tests."""
    outcome: str = "not tried"
    """``"proved"``, ``"withdrawn"``, ``"not tried"`` if the time was over, or ``"uncompared"``: it
    saves and the tests pass, but of what it changes no answer could be compared."""
    reasons: list[str] = field(default_factory=list)
    verdict: Verdict | None = None

    @property
    def proof(self) -> str:
        """The line that tells what it was proved by."""
        return "" if self.verdict is None else self.verdict.proof

    def to_json(self) -> dict[str, Any]:
        """Return the patch, its findings and its proof as plain data."""
        verdict = self.verdict
        return {
            "id": self.patch.key,
            "files": list(self.patch.paths),
            "findings": [
                {"cause": each.cause, "relation": each.relation, "origin": each.origin}
                for each in self.patch.found
            ],
            "saves": self.saves,
            "outcome": self.outcome,
            "reasons": self.reasons,
            "proof": self.proof,
            "views": [
                {"view": each.view, "before": each.before, "after": each.after}
                for each in (verdict.views if verdict else ())
            ],
            "responses": verdict.extents["whole"] if verdict else 0,
            "responses_compared_in_part": verdict.extents["part"] if verdict else 0,
            "responses_not_compared": verdict.extents["none"] if verdict else 0,
            "tests": verdict.tests if verdict else 0,
        }
