"""Django's ``flush``, as the suite runs it after each test that commits: what a test left, and no
more.

Django truncates every table and then makes the content types and permissions of all models again,
which is most of the time of a short test. Here only tables with rows are emptied, and those two are
left: no test writes to them but by making models of its own, which it takes away.
"""

from __future__ import annotations

from typing import Any

from django.core.management.commands import flush
from django.db import connections, transaction

KEPT = frozenset({"django_migrations", "django_content_type", "auth_permission"})


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        if options.get("reset_sequences", True) or options.get("inhibit_post_migrate"):
            # A test calls it itself, as Django's own.
            super().handle(**options)
            return
        connection = connections[options["database"]]
        quote = connection.ops.quote_name
        names = set(connection.introspection.django_table_names(only_existing=True))
        tables = sorted(names - KEPT)
        asked = [
            f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {quote(name)})"
            for number, name in enumerate(tables)
        ]
        with (
            transaction.atomic(using=connection.alias),
            connection.constraint_checks_disabled(),
            connection.cursor() as cursor,
        ):
            cursor.execute(" UNION ALL ".join(asked))
            for (number,) in cursor.fetchall():
                cursor.execute(f"DELETE FROM {quote(tables[number])}")
