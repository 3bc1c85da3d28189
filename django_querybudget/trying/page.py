"""A trial as one page of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_querybudget.messages.links import message_link, see
from django_querybudget.messages.plurals import counted, first_of

from .trial import Grown, Loops, Trial

__all__ = ["growth_text", "page", "summary"]

MOST_VIEWS = 15
MOST_LOOPS = 10
MOST_INDEXES = 10
MOST_NAMES = 5


def page(trial: Trial, command: str, *, status: int, rows: int | None = None) -> str:
    """Return what a run showed: views, loops, indexes, and what to do next.

    ``command`` is what was run, ``status`` its exit status, ``rows`` what ``--rows`` asked for.
    """
    return "\n".join(_lines(trial, command, status, rows))


def summary(trial: Trial) -> str:
    """Return one line: ``"12 views measured, 3 of them with loops of queries"``."""
    views = {name for each in trial.loops for name in each.views}
    return (
        f"{counted(len(trial.views), 'view')} measured, "
        f"{counted(len(views), 'view')} with N+1 queries, {counted(len(trial.loops), 'line')} to "
        "look at"
    )


def growth_text(trial: Trial, grown: Grown) -> str:
    """Return what ``--rows`` found of a view, in one line."""
    told = [f"{model}: {why}" if model else why for model, why in grown.problems.items()]
    told += [f"{model}: the copies are not listed" for model in grown.not_listed]
    notes = f" ({'; '.join(told)})" if told else ""
    if grown.queries is None:
        return f"{grown.name}: not measured{notes}"
    copied = ", ".join(grown.copied)
    before = _before(trial, grown)
    return f"{grown.name}: {before} → {grown.queries} queries, with copies of {copied}{notes}"


def _before(trial: Trial, grown: Grown) -> int:
    if grown.before is not None:
        return grown.before
    view = trial.views.get(grown.name)
    return 0 if view is None else view.queries


def _lines(trial: Trial, command: str, status: int, rows: int | None) -> Iterator[str]:
    title = f"django-querybudget tried: {command}"
    yield title
    yield "=" * min(len(title), 100)
    if status:
        yield f"It ended with status {status}. What its failing tests measured is in here, too."
    if not trial.started:
        yield "No process of it set Django up, so nothing was measured."
        return
    yield f"{summary(trial)}."
    if not trial.views:
        yield (
            "A view is measured when a request reaches it through Django's handler: by the test "
            "client, the live server or runserver. RequestFactory and the TestClient of "
            "ninja.testing call views past it."
        )
    yield from _views(trial)
    yield from _loops(trial)
    yield from _indexes(trial)
    yield from _few(trial, rows)
    for problem in trial.problems:
        yield f"Not looked at: {problem}"
    if trial.cut:
        yield "A process saw more than is kept: what came last is missing here."
    yield from _next(trial)


def _views(trial: Trial) -> Iterator[str]:
    if not trial.views:
        return
    ordered = sorted(trial.views.values(), key=lambda each: (-each.queries, each.name))
    yield ""
    yield "Views by queries: the most that one request executed"
    yield "  queries  duplicates      ms  view"
    for each in ordered[:MOST_VIEWS]:
        yield f"  {each.queries:7}  {each.duplicates:10}  {each.milliseconds:6.1f}  {each.name}"
    yield from _more(ordered, MOST_VIEWS, "view")


def _loops(trial: Trial) -> Iterator[str]:
    if not trial.loops:
        return
    yield ""
    yield "N+1 queries: the lines that save most queries of one request come first"
    for position, each in enumerate(trial.loops[:MOST_LOOPS], start=1):
        yield f"{position:3}. {_headline(each)}"
        yield from (f"    {line}" for line in each.text)
    yield from _more(trial.loops, MOST_LOOPS, "line")
    if trial.packages:
        packages = ", ".join(sorted(trial.packages))
        yield f"  Loops that only installed packages run, which no line of yours ends: {packages}."
    yield f"  {see(message_link('nplusone'))}"


def _headline(loops: Loops) -> str:
    saved = f"{counted(loops.saves, 'query', 'queries')} less" if loops.saves else "no line known"
    with_rows = "" if loops.rows is None else f", with {loops.rows} copies of each row"
    return f"{saved} in {_names(loops.views)}{with_rows}"


def _indexes(trial: Trial) -> Iterator[str]:
    yield ""
    missing = [each["text"] for each in trial.missing or ()]
    missing += [e["text"] for e in trial.indexes if e["kind"] == "unindexed-foreign-key"]
    redundant = [e["text"] for e in trial.indexes if e["kind"] != "unindexed-foreign-key"]
    yield f"Indexes: {len(redundant)} redundant, {len(missing)} missing"
    for word, texts in (("redundant", redundant), ("missing", missing)):
        yield from (f"  {word}: {text}" for text in texts[:MOST_INDEXES])
        yield from _more(texts, MOST_INDEXES, f"{word} index", f"{word} indexes")
    if trial.missing is None and trial.views:
        yield (
            "  The planner was not asked what is missing: that takes a test run in one process, "
            "without --parallel, -n and --testrunner."
        )


def _few(trial: Trial, rows: int | None) -> Iterator[str]:
    few = trial.few()
    unknown = {name: models for name, models in few.items() if name not in trial.grown}
    if not few and rows is None:
        return
    yield ""
    if rows is not None and trial.grown:
        yield f"With {counted(rows, 'copy', 'copies')} of each row (--rows {rows})"
        yield from _grown(trial)
    if rows is not None and trial.views and not few:
        yield f"--rows: every list had {trial.threshold} rows or more, which shows loops."
    if unknown:
        yield (
            f"{counted(len(unknown), 'view')} may have listed fewer than {trial.threshold} rows, "
            "which show no loop:"
        )
        for name, models in list(unknown.items())[:MOST_VIEWS]:
            yield f"  {name}: {', '.join(map(trial.views[name].rows_text, models))}"
        yield from _more(list(unknown), MOST_VIEWS, "view")
        if rows is None:
            yield "  Put --rows 20 before the command to see them with more rows."


def _grown(trial: Trial) -> Iterator[str]:
    """Yield the views that grew, then those that are not known, then the names of all others."""
    each_by = sorted(trial.grown.values(), key=lambda each: each.name)
    grew = [each for each in each_by if (each.queries or 0) > _before(trial, each)]
    grew.sort(key=lambda each: _before(trial, each) - (each.queries or 0))
    unknown = [each for each in each_by if each.queries is None]
    told = [*grew, *unknown]
    yield from (f"  {growth_text(trial, each)}" for each in told[:MOST_VIEWS])
    yield from _more(told, MOST_VIEWS, "view")
    same = [each.name for each in each_by if each not in told]
    if same:
        yield f"  No more queries: {_names(same)}"


def _next(trial: Trial) -> Iterator[str]:
    yield ""
    yield "Next"
    if trial.loops and any(each.line or each.saves for each in trial.loops):
        yield "  Write the first line above, and run this again."
    if trial.added:
        yield (
            '  Keep it: "django_querybudget" in INSTALLED_APPS, and first in MIDDLEWARE '
            '"django_querybudget.middleware.QueryBudgetMiddleware".'
        )
    if trial.loops:
        kept = "Then let" if trial.added else "Let"
        yield (
            f"  Fix it: {kept} your tests prove the lines: manage.py querybudget fix -- test, or "
            "pytest --querybudget-fix."
        )
    yield (
        "  Hold it: pytest --querybudget=record, or manage.py querybudget record -- test, writes "
        "today's counts; =check fails when they rise."
    )
    yield "  All of it, in full: --json FILE or --html FILE before the command."


def _names(names: Sequence[str]) -> str:
    return first_of(names, MOST_NAMES, what="view")


def _more(all_of_them: Sequence[object], shown: int, word: str, plural: str = "") -> Iterator[str]:
    if len(all_of_them) > shown:
        yield f"  … and {counted(len(all_of_them) - shown, word, plural)} more"
