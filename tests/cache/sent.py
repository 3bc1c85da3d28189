"""What a write sends to the database, as the driver sees it: with the library, or without.

    python -m tests.cache.sent with|without ALIAS NAME

Prints one JSON object: for each kind of write its statements, and which models Django deletes
without loading them. ``NAME`` is the test database behind ``ALIAS``, with its rows.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

_sent: list[str] = []


def main() -> None:
    mode, alias, name = sys.argv[1:]
    configure(mode == "with", alias, name)
    from django.apps import apps
    from django.db import connections, transaction
    from django.db.models.deletion import Collector

    from tests.cache.writes import KINDS

    listen(connections[alias])
    if mode == "with":
        read_through_the_cache(alias)
    sent: dict[str, list[str]] = {}
    for kind in KINDS.values():
        if kind.in_atomic and connections[alias].vendor in kind.vendors:
            with transaction.atomic(using=alias):
                del _sent[:]
                kind.run(alias)
                sent[kind.name] = [_plain(statement) for statement in _sent]
                transaction.set_rollback(True, using=alias)
    fast = {
        model._meta.label: Collector(using=alias).can_fast_delete(model._base_manager.using(alias))
        for model in apps.get_models(include_auto_created=True)
    }
    json.dump({"sent": sent, "fast": fast}, sys.stdout)


def configure(with_the_library: bool, alias: str, name: str) -> None:
    import django
    from django.conf import settings

    from tests import settings as suite

    values = {key: getattr(suite, key) for key in dir(suite) if key.isupper()}
    if with_the_library:
        # On, and without a scope that asks for more than the statement tells.
        values["QUERYBUDGET"] = {"CACHE": {"ALIAS": "default"}}
    else:
        del values["QUERYBUDGET"]
        for key in ("INSTALLED_APPS", "MIDDLEWARE"):
            values[key] = [each for each in values[key] if "querybudget" not in each]
    values["DATABASES"][alias]["NAME"] = name
    settings.configure(**values)
    django.setup()


def listen(connection: Any) -> None:
    """Hear of each statement below Django: from the driver."""
    connection.ensure_connection()
    driver = connection.connection
    if connection.vendor == "sqlite":
        driver.set_trace_callback(_sent.append)
    elif connection.vendor == "postgresql":
        import psycopg

        for method in ("execute", "executemany"):
            heard = _heard(getattr(psycopg.Cursor, method), of=driver)
            setattr(psycopg.Cursor, method, heard)
    else:
        driver.query = _heard(driver.query, bound=True)


def _heard(
    method: Callable[..., Any], *, bound: bool = False, of: Any = None
) -> Callable[..., Any]:
    """``of`` is the host's connection: what others send is not the host's."""

    def heard(*arguments: Any, **options: Any) -> Any:
        if bound or arguments[0].connection is of:
            _sent.append(str(arguments[0 if bound else 1]))
        return method(*arguments, **options)

    return heard


def read_through_the_cache(alias: str) -> None:
    """Let the library be at work: twice, so that the second answer is the cache's."""
    from django_querybudget.cache import cache_stats, cached_queryset
    from jobs.models import Job

    for _ in range(2):
        assert list(cached_queryset(Job.objects.using(alias)))
    assert cache_stats().hits == 1


def _plain(statement: str) -> str:
    """Leave out what differs between two runs: names of savepoints and files, and times."""
    statement = re.sub(r"s\d+_x\d+", "savepoint", statement)
    statement = re.sub(r"'/tmp/[^']*'", "'file'", statement)
    return re.sub(r"'\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[^']*'", "'time'", statement)


if __name__ == "__main__":
    main()
