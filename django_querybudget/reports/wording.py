"""What a report says of its budget: by how much it is exceeded, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_querybudget.budgets.budget import Budget, Violation
from django_querybudget.messages.plurals import counted
from django_querybudget.sql.fingerprints import StatementKind
from django_querybudget.sql.shortening import shortened

from .shapes import Shape

if TYPE_CHECKING:
    from .report import QueryReport

__all__ = ["next_step", "violated"]

_WRITE_AT_ONCE = "write the rows at once: bulk_create(), bulk_update() or update()."

_MEASURED = {
    "max_queries": ("query executed", "queries executed"),
    "duplicates": ("duplicate query", "duplicate queries"),
    "similar": ("query repeats an earlier one's shape", "queries repeat an earlier one's shape"),
    "writes": ("query writes", "queries write"),
    "rows": ("row fetched", "rows fetched"),
}


def violated(violation: Violation, budget: Budget | None) -> str:
    """Return by how much one dimension is exceeded."""
    if violation.dimension == "until":
        return f"the budget {budget.ends if budget is not None else 'expired'}"
    if violation.dimension == "duration":
        return (
            f"{violation.actual * 1000:.1f} ms in the database, "
            f"budget is {violation.limit * 1000:.1f} ms"
        )
    words = _MEASURED[violation.dimension]
    return f"{counted(violation.actual, *words)}, budget is {violation.limit:g}"


def next_step(report: QueryReport, shapes: list[Shape]) -> str:
    """Return what to do about a report whose budget is exceeded."""
    exceeded = {violation.dimension: violation.actual for violation in report.violations}
    if exceeded.pop("until", None) and not exceeded:
        return "lower the budget to what it was before it was raised, or agree on a later day."
    if len(exceeded) == 1 and (alone := _of_one_dimension(next(iter(exceeded)), shapes)):
        return alone
    if report.findings:
        return "write the lines that are suggested above."
    if shapes[0].count > 1:
        return _of_repeated(shapes[0])
    most = exceeded.get("max_queries", report.log.count)
    return f"no query repeats: merge or drop one, or raise the budget to {most:g}."


def _of_one_dimension(dimension: str, shapes: list[Shape]) -> str:
    """Return what to do where no more than one is exceeded; nothing where that tells too little."""
    match dimension:
        case "duration":
            slowest = max(shapes, key=lambda shape: shape.milliseconds)
            return f"look at EXPLAIN of the slowest: {shortened(slowest.fingerprint)}"
        case "writes":
            return _WRITE_AT_ONCE
        case "rows":
            most = max(shapes, key=lambda shape: shape.rows or 0)
            return f"fetch fewer rows (paginate, filter, aggregate): {shortened(most.fingerprint)}"
    return ""


def _of_repeated(shape: Shape) -> str:
    """Return no more than the log says: why it repeats is for the findings to know."""
    where = f" at {shape.origins[0][0]}" if shape.origins else ""
    if shape.queries[0].kind is StatementKind.WRITE:
        return f"the query{where} writes {shape.count} times: {_WRITE_AT_ONCE}"
    different = len({repr(query.params) for query in shape.queries})
    if different == 1:
        return f"the query{where} asks for the same {shape.count} times: keep its result."
    return (
        f"the query{where} runs {shape.count} times, with {different} different values: ask for "
        "them at once, or raise the budget."
    )
