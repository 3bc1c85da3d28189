"""``manage.py querybudget report``: what production's views, tasks and commands cost."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from django_querybudget.conf import conf
from django_querybudget.exceptions import LockFileError
from django_querybudget.production import terminal
from django_querybudget.production.comparing import (
    Figures,
    compared,
    comparison_as_json,
    figures_of,
    figures_of_file,
)
from django_querybudget.production.reading import (
    Picture,
    Unreadable,
    parse_duration,
    picture_of,
)
from django_querybudget.production.record import Record, SeriesKey
from django_querybudget.production.summary import VERSION, as_json, summarised

HELP = "Show what each view, task and command costs the database, from the record of production."
SHOWN = 30
"""So many series are shown; -v 2 shows all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--since", default="1h", metavar="TIME", help="how far back: 30m, 6h, 2d (default: 1h)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--compare",
        metavar="BEFORE",
        nargs="+",
        help="what a request needs now beside what it needed before: in a release, or in a file "
        "that --json printed; a second name stands for now",
    )
    what.add_argument(
        "--database",
        action="store_true",
        help="whose the time of each PostgreSQL is, by its pg_stat_statements",
    )
    what.add_argument(
        "--tests",
        action="store_true",
        help="views that no test has, and views that do more than the tests saw",
    )
    what.add_argument(
        "--ratchet",
        action="store_true",
        help="the budgets that 99 of 100 requests of each view keep, for QUERYBUDGET",
    )
    parser.add_argument(
        "--file",
        metavar="PATH",
        default="querybudget.toml",
        help="the file of the tests' lines (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--html", metavar="FILE", help="into a file of its own for a browser")


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print or write the report. Raises ``CommandError``."""
    if options["html"] is not None and (
        options["database"] or options["tests"] or options["ratchet"]
    ):
        raise CommandError("--html is for the whole report or for --compare.")
    report = Report(command, options)
    if options["compare"] is not None:
        report.compare()
    elif options["database"]:
        report.databases()
    elif options["tests"]:
        report.tests()
    elif options["ratchet"]:
        report.ratchet()
    else:
        report.everything()


class Report:
    """One run of the command."""

    def __init__(self, command: BaseCommand, options: dict[str, Any]) -> None:
        self._write = command.stdout.write
        self._options = options
        self._since: str = options["since"]
        self._json: bool = options["json"]
        self._every: bool = options["verbosity"] > 1

    def everything(self) -> None:
        """All series, by total database time."""
        picture = self._picture
        rows = summarised(picture.whole)
        if self._options["html"] is not None:
            from django_querybudget.production.pages import render_file  # templates, for this

            self._save(lambda: render_file(picture))
        elif self._json:
            told = {
                "version": VERSION,
                "since": picture.since,
                "until": picture.until,
                "seconds": round(picture.seconds, 6),
                "series": as_json(rows),
                "trend": list(_points(picture)),
            }
            self._dump(told)
        elif not rows:
            self._write(_nothing(self._since))
        else:
            shown = rows if self._every else rows[:SHOWN]
            self._lines(terminal.table_lines(shown, shapes=8 if self._every else 1))
            if hidden := len(rows) - len(shown):
                self._write(f"… and {hidden} more: see -v 2.")
            self._lines(terminal.audit_lines(rows))

    def databases(self) -> None:
        """Whose the databases' time is, by their own statistics."""
        from django_querybudget.production.explained import explained, explained_as_json
        from django_querybudget.production.statements import postgresql_aliases, read_statements

        whole = self._picture.whole
        found = [explained(read_statements(alias), whole) for alias in postgresql_aliases()]
        if self._json:
            self._dump([explained_as_json(each) for each in found])
            return
        if not found:
            self._write("No database in DATABASES is a PostgreSQL: others do not tell.")
        for each in found:
            most = len(each.shares) if self._every else SHOWN
            self._lines(terminal.database_lines(each, most=most))

    def tests(self) -> None:
        """What the tests do not see."""
        from django_querybudget.production.tested import tested, tested_as_json

        found = tested(self._picture.whole, self._recorded())
        if self._json:
            self._dump(tested_as_json(found))
        else:
            self._lines(terminal.tested_lines(found, most=found.number if self._every else SHOWN))

    def ratchet(self) -> None:
        """The budgets that production suggests."""
        from django_querybudget.production.tested import suggested_budgets

        found = suggested_budgets(self._picture.whole, self._recorded(missing_ok=True))
        if self._json:
            self._dump({each.key: each.budget for each in found})
            return
        self._write(f"# 99 of 100 requests of the last {self._since} keep these.")
        self._lines(['"BUDGETS": {', *(f"    {each}" for each in found), "},"])

    def compare(self) -> None:
        """Before and after."""
        names = self._options["compare"]
        if len(names) > 2:
            raise CommandError(f"--compare takes one name or two, not {len(names)}.")
        before = self._figures(names[0])
        rows = compared(before, self._figures(names[1]) if names[1:] else self._now(names[0]))
        if self._options["html"] is not None:
            from django_querybudget.production.pages import render_comparison  # as above

            self._save(lambda: render_comparison(rows, names[0], names[1] if names[1:] else "now"))
        elif self._json:
            self._dump(comparison_as_json(rows))
        else:
            self._lines(terminal.comparison_lines(rows))

    def _figures(self, name: str) -> Mapping[SeriesKey, Figures]:
        """Return the figures of a file or of a release."""
        if name.endswith(".toml"):
            raise CommandError(
                f"--compare: {name} is no record of production. Two of the tests' files are "
                "compared by manage.py querybudget compare."
            )
        if name.endswith(".json"):
            try:
                return figures_of_file(name)
            except ValueError as error:
                raise CommandError(f"--compare: {error}") from error
        releases = self._picture.releases
        if name not in releases:
            known = ", ".join(map(repr, sorted(filter(None, releases)))) or "none"
            raise CommandError(
                f"No request of the release {name!r} was recorded in the last {self._since}; "
                f'there are: {known}. QUERYBUDGET["RELEASE"] names them.'
            )
        return figures_of(releases[name])

    def _now(self, before: str) -> Mapping[SeriesKey, Figures]:
        """Return the figures of the release of now; without one, of all but that of before."""
        releases, after = self._picture.releases, Record()
        others = set(releases) - {before}
        for release in others & {conf.RELEASE or ""} or others:
            after.merge(releases[release])
        return figures_of(after)

    # What it reads

    @cached_property
    def _picture(self) -> Picture:
        try:
            seconds = parse_duration(self._since)
        except ValueError as error:
            raise CommandError(f"--since: {error}") from error
        try:
            return picture_of(seconds)
        except Unreadable as error:
            raise CommandError(str(error)) from error

    def _lock_file(self) -> Path:
        from django_querybudget.production.tested import lock_file

        return lock_file(self._options["file"])

    def _recorded(self, *, missing_ok: bool = False) -> Mapping[Any, Any]:
        from django_querybudget.ratchet import lockfile

        path = self._lock_file()
        if not path.exists() and not missing_ok:
            raise CommandError(
                f"{path}: there is no such file. Record it: pytest --querybudget=record, or "
                "manage.py querybudget record."
            )
        try:
            return lockfile.read(path).lines
        except LockFileError as error:
            raise CommandError(str(error)) from error

    # How it tells

    def _dump(self, told: object) -> None:
        self._write(json.dumps(told, indent=2))

    def _lines(self, lines: Iterable[object]) -> None:
        for line in lines:
            self._write(str(line))

    def _save(self, render: Callable[[], str]) -> None:
        name, text = self._options["html"], render()
        try:
            Path(name).write_text(text, encoding="utf-8")
        except (OSError, ValueError) as error:  # a zero byte is a ValueError
            raise CommandError(f"--html: {name} cannot be written: {error}") from error
        self._write(f"Wrote {name}.")


def _points(picture: Picture) -> Iterator[list[float]]:
    """Yield each interval's start, requests, queries and seconds."""
    course = picture.trend
    columns = zip(course.requests, course.queries, course.seconds, strict=True)
    for start, (requests, queries, seconds) in zip(picture.starts(), columns, strict=True):
        yield [start, round(requests), round(queries), round(seconds, 6)]


def _nothing(since: str) -> str:
    return (
        f"No request was recorded in the last {since}. A process writes its record every "
        f"{conf.PRODUCTION.INTERVAL:g} seconds into the cache {conf.PRODUCTION.ALIAS!r}, if "
        "QueryBudgetMiddleware is in MIDDLEWARE; a LocMemCache is of one process alone."
    )
