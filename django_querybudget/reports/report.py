"""The report of a measured scope: what was counted, against what, and as text for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from django_querybudget.budgets.budget import Budget, Violation, unjudged_rows
from django_querybudget.budgets.growth import QueryGrowth, ShapeGrowth
from django_querybudget.conf import conf
from django_querybudget.messages.links import message_link, see
from django_querybudget.messages.plurals import counted
from django_querybudget.recording.records import QueryLog
from django_querybudget.sql.shortening import shortened
from django_querybudget.stacks import Origin

from .repeats import findings_of
from .shapes import Shape
from .wording import next_step, violated

if TYPE_CHECKING:
    from django_querybudget.nplusone import Finding

__all__ = ["QueryReport", "Shape", "render_growth"]

# What a short report shows; -v shows all.
MOST_SHAPES = 5
MOST_PARAMETERS = 3


@dataclass(frozen=True, kw_only=True)
class QueryReport:
    """What one scope executed. It is made once, when the count is final."""

    name: str
    """The scope's name: for a view, ``"GET jobs:list"``."""
    log: QueryLog
    """Its queries."""
    budget: Budget | None = None
    """The budget that applies to it, if one does."""
    view_name: str | None = None
    """For a view: ``resolver_match.view_name``, or the route where the view has no name."""
    method: str | None = None
    """For a view: the request's method."""
    status_code: int | None = None
    """For a view: the response's status."""
    streaming: bool = False
    """For a view: whether the response was streamed; the report is made at the stream's end."""

    def __post_init__(self) -> None:
        # A view's name, a route or a method may be anybody's: none of it splits a line of a log.
        if not self.name.isprintable():
            object.__setattr__(self, "name", _printable(self.name).replace("\n", "�"))

    @cached_property
    def violations(self) -> tuple[Violation, ...]:
        """What the log exceeds of the budget."""
        return self.budget.check(self.log) if self.budget is not None else ()

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Its N+1 queries, by the threshold of its budget or of the settings."""
        threshold = self.budget.nplusone if self.budget is not None else None
        if self.log.evidence is None:
            return ()
        return findings_of(self.name, self.log, threshold)

    @cached_property
    def unjudged(self) -> str:
        """Why the budget's ``rows`` cannot be judged; empty if they can, or are not limited."""
        unknown = unjudged_rows(self.budget, self.log)
        if not unknown:
            return ""
        return f"rows unknown for {unknown} of {counted(self.log.count, 'query', 'queries')}"

    @property
    def _rows(self) -> str:
        if self.unjudged:
            return f", {self.unjudged}"
        fetched = self.log.fetched
        if not fetched.rows:
            return ""
        unknown = counted(fetched.unknown, "query", "queries")
        more = f" (unknown for {unknown})" if fetched.unknown else ""
        return f", {counted(fetched.rows, 'row', 'rows')}{more}"

    @property
    def nplusone_text(self) -> str:
        """The N+1 queries as text: name, causes, lines to write."""
        lines = [*_finding_lines(self.findings), see(_findings_link(self.findings))]
        return _printable("\n".join([f"{self.name}: N+1 queries", "", *lines]))

    @property
    def milliseconds(self) -> float:
        """How long the databases took, in milliseconds."""
        return self.log.duration * 1000

    @property
    def summary(self) -> str:
        """``"12 queries, 3 duplicates"``."""
        duplicates = self.log.duplicate_count
        text = counted(self.log.count, "query", "queries")
        if duplicates:
            text = f"{text}, {counted(duplicates, 'duplicate', 'duplicates')}"
        return f"{text}, first {self._kept} kept" if self.log.dropped else text

    @property
    def _kept(self) -> int:
        return self.log.count - self.log.dropped

    @property
    def shapes(self) -> list[Shape]:
        """The queries that the budget counts, by shape, the most frequent first."""
        using = self.budget.using if self.budget is not None else None
        log = self.log if using is None else self.log.on(using)
        shapes = [Shape(shape, queries) for shape, queries in log.by_fingerprint().items()]
        return sorted(shapes, key=lambda shape: -shape.count)

    @property
    def headline(self) -> str:
        """One line: ``"GET jobs:list: 12 queries executed, budget is 10"``."""
        if not self.violations:
            text = f"{self.name}: {self.summary}{self._rows}, {self.milliseconds:.1f} ms"
            limit = self.budget.max_queries if self.budget is not None else None
            return text if limit is None else f"{text}, budget is {limit}"
        told = [
            *(violated(each, self.budget) for each in self.violations),
            *filter(None, [self.unjudged]),
        ]
        return f"{self.name}: {'; '.join(told)}"

    def render(self, *, verbosity: int | None = None, parameters: bool | None = None) -> str:
        """Return the report as text: the headline, the queries by shape, the next step.

        ``verbosity`` 0 is the most frequent shapes, 1 all shapes and all their lines, 2 their whole
        SQL and the way to each line. ``parameters`` shows the queries' parameters, which may be
        secrets. Both default to the settings.
        """
        verbosity = conf.VERBOSITY if verbosity is None else verbosity
        parameters = conf.SHOW_PARAMETERS if parameters is None else parameters
        lines = [self.headline]
        if self.violations and self.budget is not None and self.budget.message:
            lines.insert(0, self.budget.message)
        if shapes := self.shapes:
            shown = shapes if verbosity > 0 else shapes[:MOST_SHAPES]
            lines.append("")
            for shape in shown:
                lines += _shape_lines(shape, verbosity, parameters)
            if hidden := len(shapes) - len(shown):
                lines.append(f"        … and {counted(hidden, 'shape', 'shapes')} more: see -v.")
        if self.log.dropped:
            lines.append(
                f"        Only the first {self._kept} of {self.log.count} queries were kept: see "
                'QUERYBUDGET["MAX_RECORDS"].'
            )
        if findings := self.findings:
            lines += ["", "N+1 queries:", *_finding_lines(findings)]
        if self.violations:
            lines += ["", f"Next: {next_step(self, shapes)}"]
            lines.append(see(message_link("budget-exceeded")))
        elif findings:
            lines.append(see(_findings_link(findings)))
        return _printable("\n".join(lines))

    @property
    def brief(self) -> str:
        """One line, for what was told whole before."""
        loops = len(self.findings)
        if not loops:
            return _printable(self.headline)
        known = counted(loops, "loop of queries", "loops of queries")
        return _printable(f"{self.headline}; {known}, as told before")

    def __str__(self) -> str:
        return self.render() if self.violations or self.findings else self.headline


def _finding_lines(findings: Sequence[Finding]) -> list[str]:
    # Here, not above: most processes have nothing to explain.
    from django_querybudget.nplusone.rendering import render_findings

    return list(render_findings(findings))


def _findings_link(findings: Sequence[Finding]) -> str:
    from django_querybudget.nplusone.rendering import link_of  # as above

    return link_of(findings)


def render_growth(growth: QueryGrowth, steep: Sequence[ShapeGrowth], max_slope: float) -> str:
    """Return what grows, by how much, from which lines, and the next step."""
    total = ", ".join(
        f"{counted(count, 'query', 'queries')} at size {size}"
        for size, count in zip(growth.sizes, growth.total.counts, strict=True)
    )
    lines = [f"The number of queries grows with the data: {total}.", ""]
    largest = growth.logs[max(growth.sizes)].by_fingerprint()
    for shape in steep:
        counts = ", ".join(map(str, shape.counts))
        what = "All shapes together" if shape.fingerprint is None else shortened(shape.fingerprint)
        lines.append(f"  {what}")
        lines.append(
            f"        grows by {shape.slope:.1f} per row ({counts}); {max_slope:g} allowed"
        )
        if shape.fingerprint is not None:
            lines += _origin_lines(Shape(shape.fingerprint, largest[shape.fingerprint]), 0)
    lines += ["", "Next: ask for the rows of all objects at once, before the loop."]
    lines.append(see(message_link("growth")))
    return _printable("\n".join(lines))


def _shape_lines(shape: Shape, verbosity: int, parameters: bool) -> Iterator[str]:
    sql = shape.fingerprint if verbosity > 1 else shortened(shape.fingerprint)
    rows = f", {counted(shape.rows, 'row', 'rows')}" if shape.rows is not None else ""
    yield f"{shape.count:4} x  {sql}  ({shape.milliseconds:.1f} ms{rows})"
    yield from _origin_lines(shape, verbosity)
    if parameters:
        shown = shape.queries if verbosity > 1 else shape.queries[:MOST_PARAMETERS]
        for query in shown:
            yield f"        with {query.params!r}"


def _origin_lines(shape: Shape, verbosity: int) -> Iterator[str]:
    origins = shape.origins
    for origin, count in origins if verbosity > 0 else origins[:1]:
        times = "" if count == shape.count else f" ({count} of {shape.count})"
        yield f"        {origin}{times}"
        if verbosity > 1:
            yield from _way_lines(shape, origin)


def _way_lines(shape: Shape, origin: Origin) -> Iterator[str]:
    """Yield the calls that led to a line, of the first query that came from it."""
    way = next(query.way for query in shape.queries if query.origin == origin)
    if len(way) > 1:
        yield "            by way of, the outermost first:"
        for each in way[:-1]:
            yield f"              {each}"


def _printable(text: str) -> str:
    """Leave out control characters: XML, and so JUnit's reports, cannot hold them."""
    return "".join(each if each.isprintable() or each == "\n" else "�" for each in text)
