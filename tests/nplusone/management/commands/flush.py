"""Django's ``flush``, as the suite runs it after each test that commits: what a test left, and no
more.

Django truncates every table and then makes the content types and permissions of all models again,
which is most of the time of a short test. Here only tables with rows are emptied, and those two are
left, unless a test has emptied them.
"""

from __future__ import annotations

from typing import Any

from django.core.management.commands import flush
from django.db import connections, transaction

KEPT = frozenset({"django_migrations", "django_content_type", "auth_permission"})
# Some model has each of these; the permissions are made last.
MADE_AFTER_MIGRATE = frozenset({"django_content_type", "auth_permission"})


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        filled = self._filled(options["database"])
        if (
            # A test calls it itself, as Django's own.
            options.get("reset_sequences", True)
            or options.get("inhibit_post_migrate")
            or not filled >= MADE_AFTER_MIGRATE
        ):
            super().handle(**options)
            return
        connection: Any = connections[options["database"]]
        with (
            transaction.atomic(using=connection.alias),
            connection.constraint_checks_disabled(),
            connection.cursor() as cursor,
        ):
            if connection.vendor == "postgresql" and _is_superuser(connection):
                # Else its triggers look for each row whether another one refers to it.
                cursor.execute("SET LOCAL session_replication_role = replica")
            for name in sorted(filled - KEPT):
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(name)}")

    def _filled(self, alias: str) -> set[str]:
        """Return the tables that have rows."""
        connection = connections[alias]
        tables = sorted(connection.introspection.django_table_names(only_existing=True))
        asked = [
            f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {connection.ops.quote_name(name)})"
            for number, name in enumerate(tables)
        ]
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(asked))
            return {tables[number] for (number,) in cursor.fetchall()}


def _is_superuser(connection: Any) -> bool:
    said: str = connection.connection.info.parameter_status("is_superuser")
    return said == "on"
