"""The advisor's findings as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from django_querybudget.messages.links import message_link, see
from django_querybudget.messages.plurals import counted, first_of

from .advice import Advice, AdvisorReport
from .needs import Purpose
from .verify import Saving

_SHOWN = 3

_REASONS = {
    Purpose.FILTER: "filters that no index serves",
    Purpose.JOIN: "joins that read the whole table",
    Purpose.ORDER: "first rows of an order that no index has",
}


def render_advice(report: AdvisorReport, verdicts: Iterable[Saving] = ()) -> str:
    """Return the lines for each model's ``Meta.indexes``, with what needs each."""
    told = {id(verdict.advice): verdict for verdict in verdicts}
    wasted = {key for key, verdict in told.items() if not verdict.problem and not verdict.worth_it}
    missing = [advice for advice in report.advice if id(advice) not in wasted]
    queries = counted(report.queries, "ORM query", "ORM queries")
    shapes, indexes = counted(report.shapes, "shape"), counted(len(missing), "index", "indexes")
    lines = [f"{queries} of {shapes}; {indexes} missing."]
    lines += _by_model(missing, told)
    if wasted:
        lines += ["", "Not worth an index on this data:"]
        lines += _by_model([advice for advice in report.advice if id(advice) in wasted], told)
    lines += [f"Problem: {problem}" for problem in report.problems]
    if missing:
        lines += ["", see(message_link("index-advice"))]
    return "\n".join(lines)


def _by_model(advised: Iterable[Advice], told: dict[int, Saving]) -> list[str]:
    by_model: dict[str, list[Advice]] = defaultdict(list)
    for advice in advised:
        by_model[advice.model._meta.label].append(advice)
    lines = []
    for label, of_model in sorted(by_model.items()):
        lines += ["", f"{label}.Meta.indexes"]
        for advice in of_model:
            lines += _advice(advice, told.get(id(advice)))
    return lines


def _advice(advice: Advice, verdict: Saving | None) -> list[str]:
    tests = {name: None for sample in advice.samples for name in sample.tests}
    views = {name: None for sample in advice.samples for name in sample.views}
    places = {place: None for sample in advice.samples for place in sample.lines}
    reasons = ", ".join(_REASONS[purpose] for purpose in advice.purposes)
    shapes = counted(len(advice.samples), "query shape")
    lines = [
        f"    {advice.line},",
        f"        for {reasons} ({shapes})",
    ]
    if views:
        lines.append(f"        views: {_some(views)}")
    lines.append(f"        tests: {_some(tests)}")
    if places:
        lines.append(f"        at: {_some(places)}")
    if verdict is not None:
        lines.append(f"        {verdict.text}")
    return lines


def _some(names: Collection[str]) -> str:
    return first_of(names, _SHOWN)
