"""``manage.py querybudget indexes``: the models against the real databases."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, models

from django_querybudget.conf import conf
from django_querybudget.indexes.audit.audit import MIN_ROWS, DatabaseAudit, audit_database
from django_querybudget.indexes.audit.baseline import Baseline, BaselineError
from django_querybudget.indexes.audit.findings import FindingKind, IndexFinding, Severity
from django_querybudget.indexes.audit.models import audited_models
from django_querybudget.indexes.audit.rendering import render_audits, render_json
from django_querybudget.indexes.migrations import MigrationError, write_index_migrations

HELP = "Audit indexes: the models against the real databases. Changes nothing in them."


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = ", ".join(FindingKind)
    parser.add_argument("app_labels", nargs="*", metavar="app_label", help="only these apps")
    parser.add_argument(
        "--database",
        action="append",
        dest="databases",
        metavar="ALIAS",
        help="which database; may be given several times (default: 'default')",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument(
        "--list",
        action="store_true",
        help="print every index with its size and how often it was read",
    )
    parser.add_argument(
        "--fail-on",
        default="",
        metavar="WHAT",
        help="exit with 1 on findings of these kinds or severities, separated by commas: "
        f"{kinds}, info, warning, error, any",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="findings that this file knows are not reported",
    )
    parser.add_argument(
        "--write-baseline",
        action="store_true",
        help="write today's findings to the file that --baseline names",
    )
    parser.add_argument(
        "--min-rows",
        type=int,
        default=MIN_ROWS,
        metavar="N",
        help=f"smaller tables have no unused indexes (default: {MIN_ROWS})",
    )
    parser.add_argument(
        "--third-party",
        action="store_true",
        help="audit the models of packages in site-packages too",
    )
    parser.add_argument(
        "--write-migration",
        action="store_true",
        help="write the pending index changes as migrations, concurrent ones on PostgreSQL",
    )


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Audit each database and print what was found.

    Raises ``CommandError``: with 1 for findings that ``--fail-on`` names, with 2 for a database
    that could not be audited or arguments that make no sense.
    """
    failing = _failing(options["fail_on"])
    installed = _installed(options["app_labels"], third_party=options["third_party"])
    aliases = options["databases"] or [DEFAULT_DB_ALIAS]
    if options["write_migration"]:
        _write_migrations(command, options["app_labels"], aliases)
        return
    if options["write_baseline"] and options["baseline"] is None:
        raise CommandError("--write-baseline needs --baseline FILE.", returncode=2)
    audits = [
        _without_ignored(audit_database(alias, installed, min_rows=options["min_rows"]))
        for alias in aliases
    ]
    if options["write_baseline"]:
        Baseline.of(audits).write(options["baseline"])
    if options["baseline"] is not None:
        audits = _without_known(command, audits, options["baseline"])
    if options["json"]:
        command.stdout.write(render_json(audits))
    else:
        command.stdout.write(render_audits(audits, every_index=options["list"]))
    _raise_for(audits, failing)


def _installed(app_labels: list[str], *, third_party: bool) -> list[type[models.Model]]:
    try:
        wanted = {apps.get_app_config(label).label for label in app_labels}
    except LookupError as error:
        raise CommandError(str(error), returncode=2) from error
    return [
        model
        for model in audited_models(
            third_party=third_party or conf.INDEXES.THIRD_PARTY, auto_created=True
        )
        if not wanted or model._meta.app_label in wanted
    ]


def _failing(given: str) -> frozenset[FindingKind | Severity]:
    """Return the kinds and severities that ``--fail-on`` names."""
    words = [word.strip() for word in given.split(",") if word.strip()]
    severities = {severity.name.lower(): severity for severity in Severity}
    failing: set[FindingKind | Severity] = set()
    for word in words:
        if word == "any":
            failing |= set(Severity)
        elif word in severities:
            # At least that severe.
            failing |= {s for s in Severity if s.value >= severities[word].value}
        elif word in list(FindingKind):
            failing.add(FindingKind(word))
        else:
            known = ", ".join([*FindingKind, *severities, "any"])
            raise CommandError(
                f"--fail-on does not know {word!r}. It takes: {known}.", returncode=2
            )
    return frozenset(failing)


def _keep(audit: DatabaseAudit, findings: list[IndexFinding]) -> DatabaseAudit:
    return replace(audit, findings=tuple(findings))


def _without_ignored(audit: DatabaseAudit) -> DatabaseAudit:
    ignore = conf.INDEXES.IGNORE
    return _keep(audit, [f for f in audit.findings if not f.is_ignored(ignore)])


def _without_known(
    command: BaseCommand, audits: list[DatabaseAudit], path: Path
) -> list[DatabaseAudit]:
    try:
        baseline = Baseline.read(path)
    except BaselineError as error:
        raise CommandError(str(error), returncode=2) from error
    if gone := baseline.gone(audits):
        command.stderr.write(
            f"{len(gone)} findings of {path} are no longer there; write it again with "
            f"--write-baseline: {', '.join(gone)}"
        )
    return [
        _keep(audit, [f for f in audit.findings if not baseline.knows(audit.alias, f)])
        for audit in audits
    ]


def _write_migrations(command: BaseCommand, app_labels: list[str], aliases: list[str]) -> None:
    if len(aliases) != 1:
        raise CommandError("--write-migration takes one --database.", returncode=2)
    try:
        written = write_index_migrations(aliases[0], app_labels)
    except MigrationError as error:
        raise CommandError(str(error), returncode=2) from error
    for path in written:
        command.stdout.write(f"Wrote {path}")
    if not written:
        command.stdout.write("No index changes: the migrations have every declared index.")


def _raise_for(audits: list[DatabaseAudit], failing: frozenset[FindingKind | Severity]) -> None:
    problems = [problem for audit in audits for problem in audit.problems]
    if problems:
        raise CommandError("\n".join(problems), returncode=2)
    count = sum(
        finding.kind in failing or finding.severity in failing
        for audit in audits
        for finding in audit.findings
    )
    if count:
        raise CommandError(f"{count} findings that --fail-on names.", returncode=1)
