"""``manage.py querybudget report``: what production's views, tasks and commands cost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from django_querybudget.conf import conf
from django_querybudget.production.reading import Picture, parse_duration, read_picture
from django_querybudget.production.record import Record
from django_querybudget.production.summary import as_json, compared, summarised
from django_querybudget.production.terminal import comparison_lines, database_lines, table_lines

HELP = "Show what each view, task and command costs the database, from the record of production."
SHOWN = 30
"""So many series are shown; -v 2 shows all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--since", default="1h", metavar="TIME", help="how far back: 30m, 6h, 2d (default: 1h)"
    )
    parser.add_argument(
        "--compare", metavar="RELEASE", help="what is now beside what was in that release"
    )
    parser.add_argument(
        "--database",
        action="store_true",
        help="whose the time of each PostgreSQL is, by its pg_stat_statements",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--html", metavar="FILE", help="into a file of its own for a browser")


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print or write the report. Raises ``CommandError``."""
    picture = _picture(options["since"])
    if options["compare"] is not None:
        _compare(command, options, picture)
        return
    if options["database"]:
        _databases(command, options, picture)
        return
    rows = summarised(picture.whole)
    if options["html"] is not None:
        _write(command, options["html"], picture)
    elif options["json"]:
        told = {
            "since": picture.since,
            "until": picture.until,
            "seconds": round(picture.seconds, 6),
            "series": as_json(rows),
            "trend": [
                [point.started, point.requests, point.queries, round(point.seconds, 6)]
                for point in picture.trend
            ],
        }
        command.stdout.write(json.dumps(told, indent=2))
    elif not rows:
        command.stdout.write(_nothing(options["since"]))
    else:
        every = _every(options)
        shown = rows if every else rows[:SHOWN]
        for line in table_lines(shown, shapes=8 if every else 1):
            command.stdout.write(line)
        if hidden := len(rows) - len(shown):
            command.stdout.write(f"… and {hidden} more: see -v 2.")


def _picture(since: str) -> Picture:
    try:
        seconds = parse_duration(since)
    except ValueError as error:
        raise CommandError(f"--since: {error}") from error
    if conf.PRODUCTION.written() is None:
        raise CommandError(
            'Nothing is recorded: add "PRODUCTION": {} to QUERYBUDGET, and restart the site.'
        )
    try:
        return read_picture(seconds)
    except Exception as error:  # a cache may raise anything
        raise CommandError(
            f"The cache {conf.PRODUCTION.ALIAS!r} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _databases(command: BaseCommand, options: dict[str, Any], picture: Picture) -> None:
    from django_querybudget.production.explained import explained, explained_as_json
    from django_querybudget.production.statements import postgresql_aliases, read_statements

    whole = picture.whole
    found = [explained(read_statements(alias), whole) for alias in postgresql_aliases()]
    if options["html"] is not None:
        raise CommandError("--database has no file of its own: use --json, or see the page.")
    if options["json"]:
        command.stdout.write(json.dumps([explained_as_json(each) for each in found], indent=2))
        return
    if not found:
        command.stdout.write("No database in DATABASES is a PostgreSQL: others do not tell.")
    for each in found:
        for line in database_lines(each, most=len(each.shares) if _every(options) else SHOWN):
            command.stdout.write(line)


def _every(options: dict[str, Any]) -> bool:
    return bool(options["verbosity"] > 1)


def _compare(command: BaseCommand, options: dict[str, Any], picture: Picture) -> None:
    if options["html"] is not None:
        raise CommandError("--compare has no page: use --json or neither.")
    before = picture.releases.get(options["compare"])
    if before is None:
        known = ", ".join(map(repr, sorted(filter(None, picture.releases)))) or "none"
        raise CommandError(
            f"No request of the release {options['compare']!r} was recorded in the last "
            f'{options["since"]}; there are: {known}. QUERYBUDGET["RELEASE"] names them.'
        )
    after = Record()
    others = set(picture.releases) - {options["compare"]}
    for release in others & {conf.RELEASE or ""} or others:
        after.merge(picture.releases[release])
    rows = compared(before, after)
    if options["json"]:
        told = [
            {
                "kind": row.key.kind,
                "name": row.key.name,
                "method": row.key.method,
                "before": as_json([row.before])[0] if row.before else None,
                "after": as_json([row.after])[0] if row.after else None,
            }
            for row in rows
        ]
        command.stdout.write(json.dumps(told, indent=2))
        return
    for line in comparison_lines(rows):
        command.stdout.write(line)


def _nothing(since: str) -> str:
    return (
        f"No request was recorded in the last {since}. A process writes its record every "
        f"{conf.PRODUCTION.INTERVAL:g} seconds into the cache {conf.PRODUCTION.ALIAS!r}, if "
        "QueryBudgetMiddleware is in MIDDLEWARE; a LocMemCache is of one process alone."
    )


def _write(command: BaseCommand, name: str, picture: Picture) -> None:
    from django_querybudget.production.pages import render_file  # templates, for this alone

    try:
        Path(name).write_text(render_file(picture), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--html: {name} cannot be written: {error}") from error
    command.stdout.write(f"Wrote {name}.")
