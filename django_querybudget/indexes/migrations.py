"""Writes the pending index changes as migrations that can run while the site does.

On PostgreSQL each index gets a migration of its own, not atomic, that builds or drops it
concurrently. One for each, since nothing rolls back there: a second index that fails would leave
the first one built and the migration not recorded, and the next run would stumble over it. A build
that fails leaves an INVALID index of its name; the migration drops such a one first, so it can be
run again as it is. Elsewhere the changes are written as ``makemigrations`` would write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from django.apps import apps
from django.core.management.utils import run_formatters
from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddIndex, RemoveIndex, RenameIndex
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter, OperationWriter
from django.utils.connection import ConnectionDoesNotExist

from django_querybudget.exceptions import QueryBudgetError

if TYPE_CHECKING:
    from django.db.migrations.operations.base import Operation

_TEMPLATE = """\
# Written by "manage.py querybudget indexes --write-migration"; it imports nothing of it.
{imports}

{helper}class Migration(migrations.Migration):
    # CREATE and DROP INDEX CONCURRENTLY refuse to run in a transaction.
    atomic = False

    dependencies = [
{dependencies}
    ]

    operations = [
{operations}
    ]
"""

_DROP_INVALID = '''\
def drop_invalid_index(apps, schema_editor):
    """Make a retry possible: drop the INVALID index that a failed concurrent build leaves."""
    name = {name!r}
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE c.relname = %s AND pg_table_is_visible(c.oid) AND NOT i.indisvalid",
            [name],
        )
        left_behind = cursor.fetchone()
    if left_behind:
        quoted = schema_editor.quote_name(name)
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {{quoted}}")


'''

_RUN_DROP_INVALID = """\
        migrations.RunPython(drop_invalid_index, migrations.RunPython.noop),
"""


class MigrationError(QueryBudgetError):
    """The migrations cannot be written; the message says why and what to do."""


def write_index_migrations(alias: str, app_labels: Iterable[str] = ()) -> list[Path]:
    """Write migrations for the indexes that models declare and migrations do not have, or back.

    ``alias`` says for which kind of database, ``app_labels`` for which apps (all if empty).
    Returns the files written, none where there is nothing to do.

    Raises:
        MigrationError: there is no such database, or an app has other changes that wait for
            ``makemigrations``.
    """
    try:
        concurrently = connections[alias].vendor == "postgresql"
    except ConnectionDoesNotExist as error:
        raise MigrationError(
            f"There is no database {alias!r} in DATABASES. It names: {', '.join(connections)}."
        ) from error
    written = []
    for migration in _pending(set(app_labels)):
        if concurrently:
            files = list(_concurrent_files(migration))
        else:
            writer = MigrationWriter(migration)
            files = [(writer.path, writer.as_string())]
        for path, content in files:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(content, encoding="utf-8")
            written.append(Path(path))
    run_formatters([str(path) for path in written])
    return written


def _pending(app_labels: set[str]) -> Iterator[Migration]:
    """Yield the migrations that ``makemigrations`` would write, if they are of indexes alone."""
    loader = MigrationLoader(None)
    for app_label, names in loader.detect_conflicts().items():
        raise MigrationError(
            f"The migrations of {app_label} have more than one end ({', '.join(sorted(names))}). "
            f"Run 'manage.py makemigrations --merge' first."
        )
    detector = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps))
    changes = detector.changes(graph=loader.graph, trim_to_apps=app_labels or None)
    for app_label, migrations in changes.items():
        if app_labels and app_label not in app_labels:
            continue
        for migration in migrations:
            others = [
                operation.describe()
                for operation in migration.operations
                if not isinstance(operation, AddIndex | RemoveIndex | RenameIndex)
            ]
            if others:
                raise MigrationError(
                    f"{app_label} has changes besides indexes: {'; '.join(others)}. Run "
                    f"'manage.py makemigrations {app_label}' for them first."
                )
            yield migration


def _concurrent_files(migration: Migration) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of one migration for each operation of ``migration``."""
    dependencies = sorted(cast("list[tuple[str, str]]", migration.dependencies))
    number = MigrationAutodetector.parse_number(migration.name) or 1
    for offset, operation in enumerate(migration.operations):
        concurrent = _concurrent(operation)
        name = f"{number + offset:04d}_{concurrent.migration_name_fragment}"
        step = Migration(name, migration.app_label)
        yield MigrationWriter(step).path, _text(concurrent, dependencies)
        dependencies = [(migration.app_label, name)]


def _concurrent(operation: Operation) -> Operation:
    # Imported here: without psycopg the module cannot be.
    from django.contrib.postgres.operations import (
        AddIndexConcurrently,
        RemoveIndexConcurrently,
    )

    if isinstance(operation, AddIndex):
        return AddIndexConcurrently(operation.model_name, operation.index)
    if isinstance(operation, RemoveIndex):
        return RemoveIndexConcurrently(operation.model_name, operation.name)
    return operation


def _text(operation: Operation, dependencies: list[tuple[str, str]]) -> str:
    body, imports = OperationWriter(operation, indentation=2).serialize()
    helper = drop = ""
    if isinstance(operation, AddIndex):
        helper, drop = _DROP_INVALID.format(name=operation.index.name), _RUN_DROP_INVALID
    lines = []
    for dependency in dependencies:
        if dependency[0] == "__setting__":
            imports.add("from django.conf import settings")
            lines.append(f"        migrations.swappable_dependency(settings.{dependency[1]}),")
        else:
            lines.append(f"        {tuple(dependency)!r},")
    # "import django.db.models" and the like are written as Django writes them.
    imports.discard("from django.db import models")
    imports.add("from django.db import migrations, models")
    return _TEMPLATE.format(
        imports="\n".join(sorted(imports, key=lambda line: line.split()[1])),
        helper=helper,
        dependencies="\n".join(lines),
        operations=drop + body,
    )
