"""A picture as text for a terminal: a table with bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .comparing import Comparison, Figures
from .explained import ExplainedDatabase
from .summary import Row
from .tested import TestedViews

__all__ = ["audit_lines", "comparison_lines", "database_lines", "table_lines", "tested_lines"]

BAR = 12
"""A bar's width, in characters."""
_AUDIT = ("stale", "audited")
_EIGHTHS = " ▏▎▍▌▋▊▉"
LONGEST_TITLE = 44


def bar(share: float, width: int = BAR) -> str:
    """Return a bar of ``share`` (0 to 1) of ``width`` characters, in steps of an eighth."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)


def _escaped(text: str, longest: int = 200) -> str:
    """Leave out what a terminal would obey: names and SQL may be anybody's."""
    text = "".join(each if each.isprintable() else "�" for each in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def table_lines(rows: Iterable[Row], *, shapes: int = 1) -> Iterator[str]:
    """Yield a table of the rows, with so many of each one's costliest shapes below it."""
    yield (
        f"{'':{LONGEST_TITLE}}  {'share of database time':{BAR + 6}} {'requests':>9} "
        f"{'queries':>8} {'p95':>6} {'ms':>8} {'p95 ms':>8} {'dup':>6} {'N+1':>6} {'over':>6} "
        f"{'hits':>5}"
    )
    for row in rows:
        hits = "" if row.hit_rate is None else f"{row.hit_rate:.0%}"
        yield (
            f"{_escaped(row.key.title, LONGEST_TITLE):{LONGEST_TITLE}}  {bar(row.share)} "
            f"{row.share:5.0%} {row.requests:9} {row.queries:8.1f} {row.queries_p95:6.0f} "
            f"{row.milliseconds:8.1f} {row.milliseconds_p95:8.1f} {row.duplicates:6.1f} "
            f"{row.nplusone or '':>6} {row.over_budget or '':>6} {hits:>5}"
        ).rstrip()
        for shape in row.shapes[:shapes]:
            place = f"  {_escaped(shape.place)}" if shape.place else ""
            yield f"    {shape.share:4.0%}  {_escaped(shape.sql, 100)}{place}"


def audit_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield what the audit of the cache's hits found, and of which views what was stale."""
    audited = [row for row in rows if row.audited]
    if audited:
        stale, number = (sum(getattr(each, name) for each in audited) for name in _AUDIT)
        yield f"Cached answers: stale {stale:,} of {number:,} audited."
    for row in audited:
        if row.stale:
            yield f"  stale {row.stale:,} of {row.audited:,}: {_escaped(row.key.title)}"


def database_lines(found: ExplainedDatabase, *, most: int) -> Iterator[str]:
    """Yield whose one database's time and block reads are, by its own statistics."""
    statistics = found.statistics
    since = f" since {statistics.since:%Y-%m-%d %H:%M} UTC" if statistics.since else ""
    yield f"Database {_escaped(statistics.alias)}: {statistics.seconds:,.1f} s{since}"
    for problem in statistics.problems:
        yield f"  {_escaped(problem, 400)}"
    if not statistics.seconds:
        return
    head = f"{'share of its time':{BAR + 6}} {'of block reads':>16} {'calls':>12}"
    yield f"{'':{LONGEST_TITLE}}  {head}"
    for each in found.shares[:most]:
        yield _database_line(each.key.title, each.time, each.blocks, f"{each.calls:12,.0f}")
    yield _database_line("no view", found.unexplained_time, found.unexplained_blocks, "")
    for other in found.unexplained:
        yield f"    {other.time:4.0%}  {_escaped(other.sql, 100) or 'not to be read'}"


def _database_line(title: str, time: float, blocks: float, calls: str) -> str:
    title = _escaped(title, LONGEST_TITLE)
    return f"{title:{LONGEST_TITLE}}  {bar(time)} {time:5.0%} {blocks:16.0%} {calls}".rstrip()


def comparison_lines(rows: Iterable[Comparison]) -> Iterator[str]:
    """Yield a table of what a request of each series had before, and has now."""
    yield f"{'':{LONGEST_TITLE}}  {'queries':>18} {'ms in database':>18} {'change':>9}"
    for row in rows:
        queries = f"{_number(row.before, 'queries')} → {_number(row.after, 'queries')}"
        spent = f"{_number(row.before, 'milliseconds')} → {_number(row.after, 'milliseconds')}"
        change = "" if row.change is None else f"{row.change:+.1f}"
        title = _escaped(row.key.title, LONGEST_TITLE)
        yield f"{title:{LONGEST_TITLE}}  {queries:>18} {spent:>18} {change:>9}".rstrip()


def _number(figures: Figures | None, name: str) -> str:
    value = None if figures is None else getattr(figures, name)
    return "-" if value is None else f"{value:.1f}"


def tested_lines(found: TestedViews, *, most: int) -> Iterator[str]:
    """Yield which views the tests do not see, and which do more than they saw."""
    yield (
        f"{found.number} views: {found.within} within what the tests saw, "
        f"{len(found.exceeding)} above it, {len(found.untested)} that no test has."
    )
    if found.exceeding:
        head = f"{'tests':>8} {'p95':>8} {'certainly above':>16} {'requests':>9}"
        yield f"{'':{LONGEST_TITLE}}  {head}"
    for each in found.exceeding[:most]:
        title = _escaped(each.row.key.title, LONGEST_TITLE)
        yield (
            f"{title:{LONGEST_TITLE}}  {each.recorded:8} {each.row.queries_p95:8.0f} "
            f"{each.certain:16.0%} {each.row.requests:9}"
        )
    if found.untested:
        yield f"{'No test has':{LONGEST_TITLE}}  {'queries':>8} {'p95':>8} {'share of time':>16}"
    for row in found.untested[:most]:
        title = _escaped(row.key.title, LONGEST_TITLE)
        figures = f"{row.queries:8.1f} {row.queries_p95:8.0f} {row.share:16.0%}"
        yield f"{title:{LONGEST_TITLE}}  {figures}"
