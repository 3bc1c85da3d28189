"""``manage.py querybudget cache``: what the cache does in all processes; warm it, drop from it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db import connections

VERSION = 1
"""Of the JSON; one that loses a key, or changes what it means, has another."""

HELP = "Tell what the cache does in all processes; warm it; invalidate."


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    stats = actions.add_parser("stats", help="what the cache did, by view, function and query")
    stats.add_argument("--json", action="store_true", help="print JSON, for programs")
    stats.add_argument("--reset", action="store_true", help="set all counts to 0 afterwards")
    warm = actions.add_parser("warm", help="make the answers of cached functions and views")
    warm.add_argument(
        "names", nargs="*", metavar="NAME",
        help="only these functions (shop.reads.jobs), views (jobs:list) and paths (/jobs/)",
    )  # fmt: skip
    warm.add_argument("--host", default="", help="the host that visitors ask (part of each key)")
    warm.add_argument("--https", action="store_true", help="ask as over HTTPS")
    drop = actions.add_parser("invalidate", help="drop what depends on models, tables or tags")
    drop.add_argument(
        "names", nargs="*", metavar="NAME",
        help="models (payment.Payment), tables, tags, and views (view:shop.views.jobs)",
    )  # fmt: skip
    drop.add_argument("--everything", action="store_true", help="drop all that is cached")
    drop.add_argument("--using", metavar="ALIAS", help="of this database only")


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Do what ``action`` says. Raises ``CommandError``."""
    {"stats": _stats, "warm": _warm, "invalidate": _invalidate}[options["action"]](command, options)


# stats


def _stats(command: BaseCommand, options: dict[str, Any]) -> None:
    from django_querybudget.cache import cache_stats
    from django_querybudget.cache.published import forget_all

    found = cache_stats(all_processes=True)
    if options["json"]:
        command.stdout.write(json.dumps(_as_json(found), indent=2, default=dict))
    else:
        command.stdout.write(_as_text(found))
    if options["reset"]:
        forget_all()


def _as_json(found: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"version": VERSION}
    told |= {each.name: getattr(found, each.name) for each in fields(found)}
    told["sites"] = [
        {
            **{each.name: getattr(site, each.name) for each in fields(site)},
            "hit_cost": site.hit_cost,
            "query_cost": site.query_cost,
            "gain": site.gain,
            "loss": site.loss,
        }
        for site in found.sites
    ]
    return {**told, "audited": found.audited, "stale": found.stale, "gain": found.gain}


def _as_text(found: Any) -> str:
    since = datetime.fromtimestamp(found.since, UTC)
    told = (
        f"Since {since:%Y-%m-%d %H:%M} UTC: {found.hits:,} hits, {found.misses:,} misses "
        f"({found.hit_rate:.0%} hits), {_seconds(found.gain)} saved, {found.audit}."
    )
    lines = [told, ""]
    if found.sites:
        head = ("hits", "misses", "rate", "hit", "query", "saved", "read", "")
        rows = [
            (
                f"{site.hits:,}",
                f"{site.misses:,}",
                f"{site.hits / (site.hits + site.misses):.0%}" if site.hits + site.misses else "",
                f"{site.hit_cost * 1000:.2f} ms" if site.hits else "",
                f"{site.query_cost * 1000:.2f} ms" if site.hits + site.stores else "",
                _seconds(site.gain),
                _bytes(site.bytes_read),
                site.name,
            )
            for site in found.sites
        ]
        lines += [*_table([head, *rows]), ""]
    for title, reasons in (
        ("Not asked, by reason", found.bypasses),
        ("Not stored, by reason", found.not_stored),
        ("Not audited, by reason", found.unaudited),
        ("Everything renewed, by statement", found.everything),
        ("Caching loses here", found.losses),
        ("Stale by the audit", {site.name: site.stale for site in found.sites if site.stale}),
    ):
        if reasons:
            lines += [title, *_reasons(reasons), ""]
    return "\n".join(lines).rstrip()


def _reasons(reasons: Any) -> list[str]:
    if all(isinstance(value, int) for value in reasons.values()):
        ranked = sorted(reasons.items(), key=lambda item: -item[1])
        return [f"  {number:>8,}  {reason}" for reason, number in ranked]
    return [f"  {name}\n      {why}" for name, why in reasons.items()]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place < len(row) - 1 else cell
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if abs(seconds) >= 10 else f"{seconds:,.2f} s"


def _bytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 100_000 else f"{number / 1000:,.1f} kB"


# warm


def _warm(command: BaseCommand, options: dict[str, Any]) -> None:
    from django_querybudget.cache import cache_stats
    from django_querybudget.cache.published import publish
    from django_querybudget.cache.warming import jobs

    todo = list(jobs(options["names"], host=options["host"], https=options["https"]))
    if not todo:
        raise CommandError(
            "There is nothing to warm: no cached function that takes no arguments or gives warm=, "
            "no cached view at a path without parameters, or of the names that were given."
        )
    before = cache_stats()
    failures = []
    for number, job in enumerate(todo, 1):
        _progress(command, number, len(todo), job.name)
        try:
            problem = job.run()
        except Exception as error:  # of one: the others are made all the same
            problem = f"{type(error).__name__}: {error}"
        if problem:
            failures.append(f"  {job.name}: {problem}")
    _progress(command, len(todo), len(todo), "")
    after = cache_stats()
    made, there = after.stores - before.stores, after.hits - before.hits
    command.stdout.write(
        f"{len(todo)} asked for: {made} answers made, {there} there already or in part, "
        f"{len(failures)} failed."
    )
    publish()
    if failures:
        raise CommandError("\n".join(["These failed:", *failures]))


def _progress(command: BaseCommand, done: int, number: int, name: str) -> None:
    """Draw a bar where somebody looks."""
    if not command.stderr.isatty():
        return
    filled = 30 * done // number
    bar = f"[{'#' * filled}{'.' * (30 - filled)}] {done}/{number} {name[:60]}"
    command.stderr.write(f"\r{bar:<100}", ending="" if name else "\n")


# invalidate


def _invalidate(command: BaseCommand, options: dict[str, Any]) -> None:
    from django_querybudget.cache import grouped_invalidation, invalidate, invalidate_all

    names, using = options["names"], options["using"]
    if bool(names) is options["everything"]:
        raise CommandError("Give names (models, tables, tags), or --everything.")
    if using is not None and using not in connections:
        raise CommandError(f"--using: there is no database {using!r} in DATABASES.")
    if options["everything"]:
        invalidate_all(using)
        command.stdout.write("Everything is invalidated.")
        return
    if not all(names):
        raise CommandError("An empty name names nothing.")
    with grouped_invalidation():
        invalidate(*names, using=using)
    command.stdout.write(f"Invalidated: {', '.join(names)}.")
