"""An explanation as text for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django_querybudget.messages.plurals import counted

__all__ = ["render"]

MOST_SHAPES = 5
Part = Mapping[str, Any]


def render(told: Part) -> str:
    """Return an explanation, or a list of views, as text."""
    return "\n".join(_listed(told["views"]) if "views" in told else _lines(told))


def _listed(views: Iterable[Part]) -> Iterator[str]:
    for each in views:
        yield f"{each['name']}  {', '.join(map(_function, each['functions']))}"


def _function(function: Part) -> str:
    place = "" if function["file"] is None else f" ({function['file']}:{function['line']})"
    return f"{function['name']}{place}"


def _lines(told: Part) -> Iterator[str]:
    view = told["view"]
    yield f"{view['name']}: {', '.join(view['methods'])} {', '.join(view['routes'])}"
    yield from (f"  {_function(each)}" for each in view["functions"])
    for title, name, lines in (
        ("Budget", "budget", _budgets),
        ("Recorded", "recorded", _recorded),
        ("Last test run", "last_run", _last_run),
        ("Production, last 24 hours", "production", _production),
        ("Findings", "findings", _findings),
        ("Indexes", "indexes", _indexes),
        ("Cache", "cache", _cache),
    ):
        yield ""
        yield title
        part = told[name]
        yield from (f"  {line}" if line else "" for line in lines(part))
        if part["unknown"]:
            yield f"  {part['unknown']}"


def _budgets(part: Part) -> Iterator[str]:
    for each in part["budgets"]:
        if each["source"] is None:
            yield f"{each['method']}: none"
            continue
        limits = each["limits"]
        said = ", ".join(f"{name} {limit:g}" for name, limit in (limits or {}).items())
        until = f", until {each['until']}" if limits and each["until"] else ""
        yield f"{each['method']}: {said or 'no budget'}{until}, by the {each['where']}"


def _recorded(part: Part) -> Iterator[str]:
    for each in part["lines"]:
        yield f"{_counted(each)}, in {part['file']}"
        for loop in each["loops"] or ():
            at = f", at {loop['at']}" if loop["at"] else ""
            yield f"    N+1: {counted(loop['queries'], 'query', 'queries')} {loop['what']}{at}"


def _last_run(part: Part) -> Iterator[str]:
    if part["lines"]:
        failed = "" if part["passed"] else ", with tests that failed"
        yield f"{part['run']}, {part['at']}{failed}"
    for each in part["lines"]:
        yield _counted(each)
        shapes = sorted(each["shapes"], key=lambda shape: -shape["count"])
        for shape in shapes[:MOST_SHAPES]:
            yield f"{shape['count']:4} x  {shape['sql']}"
            if shape["place"]:
                yield f"        {shape['place']}"
        if (hidden := len(shapes) - MOST_SHAPES) > 0:
            yield f"        … and {counted(hidden, 'shape', 'shapes')} more: see --json."


def _counted(line: Part) -> str:
    told = [
        counted(line["queries"], "query", "queries"),
        counted(line["duplicates"], "duplicate", "duplicates"),
        f"{line['similar']} that repeat a shape",
    ]
    if line["rows"] is not None:
        told.append(counted(line["rows"], "row", "rows"))
    return f"{line['method']} {line['status']}: {', '.join(told)}"


def _production(part: Part) -> Iterator[str]:
    for row in part["series"]:
        yield (
            f"{row['method']}: {counted(row['requests'], 'request', 'requests')}, on average "
            f"{row['queries']:.1f} queries ({row['queries_p95']:.0f} at most in 95 of 100) and "
            f"{row['milliseconds']:.1f} ms"
        )
        for loop in row["loops"]:
            yield f"    {loop['text']}, in {counted(loop['times'], 'request', 'requests')}"
            yield f"        {loop['place']}"
        for reason in row["reasons"]:
            yield f"    not from the cache, {reason['times']} times: {reason['text']}"


def _findings(part: Part) -> Iterator[str]:
    for each in part["findings"]:
        yield f"{each['id']}  {each['view']}"
        yield from each["text"]
        if each["proof"]:
            yield f"      Proved: {each['proof']}"
        if each["patch"]:
            yield from (f"      {line}" for line in each["patch"].splitlines())
        else:
            yield f"      No patch. {each['unproved']}"
        yield f"        See {each['docs']}"
    if not part["findings"] and not part["unknown"]:
        yield "None in the last test run."


def _indexes(part: Part) -> Iterator[str]:
    if part["tables"]:
        yield f"Of {', '.join(part['tables'])}:"
    for each in part["findings"]:
        yield f"{each['index']}: {each['message']}"
        yield f"    {each['hint']}"
        yield f"    See {each['docs']}"
    if not part["findings"] and not part["unknown"]:
        yield "Nothing to say of them." if part["tables"] else "It reads no table of a model."


def _cache(part: Part) -> Iterator[str]:
    if not part["cached"]:
        yield "Not cached as a whole." if part["cached"] is False else "Not known."
        return
    timeout = "without a limit" if part["timeout"] is None else f"for {part['timeout']:g} s"
    varying = ", ".join(part["vary_on"] or ()) or "nothing"
    yield f"Cached {timeout}, by {part['by']} ({part['where']}); varies on {varying}."
    counts = part["statistics"]
    if counts is None:
        return
    yield f"{counts['hits']:,} hits, {counts['misses']:,} misses, {counts['stores']:,} stored"
    for word, reasons in (("bypassed", counts["bypasses"]), ("not stored", counts["not_stored"])):
        for reason, times in sorted(reasons.items(), key=lambda item: -item[1]):
            yield f"{word}, {times:,} times: {reason}"
    yield from (f"Caching loses here: {loss}" for loss in counts["losses"])
