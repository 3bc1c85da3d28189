"""Which reads are stale, and after what: this library beside django-cacheops and django-cachalot.

    python benchmarks/correctness.py            # needs the extra "bench"

Every library runs in processes of its own on the same PostgreSQL and Redis, both started here.
First each kind of write (``tests/cache/writes.py``) between two rounds of reads
(``tests/cache/reads.py``); then the races R1 to R13 (``tests/cache/races.py``), each in all orders
of two processes' steps that anyone could tell apart. A number is how many reads, or
orders, ended stale; a dash is none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIBRARIES = {
    "querybudget": "django-querybudget",
    "cacheops": "django-cacheops",
    "cachalot": "django-cachalot",
}
ALIAS = "postgres"

Result = tuple[str, str, int, int, str]  # part, name, stale, of how many, what went wrong


def main() -> int:
    """Run all libraries; print the table. Returns 1 if this library was stale anywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", choices=LIBRARIES, action="append", help="only this one")
    parser.add_argument("--only", default="", help="only kinds and races with this in their name")
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        for result in _worker(options.worker, options.only):
            print(json.dumps(result), flush=True)
        return 0
    sys.path[:0] = [str(HERE.parent), str(HERE.parent / "testproject")]
    from tests.servers import PostgreSQL, Redis, Run

    run = Run.current()
    try:
        for server in (PostgreSQL(run), Redis(run)):
            server.start()
        chosen = options.library or list(LIBRARIES)
        results = {library: _run(library, options.only) for library in chosen}
    finally:
        run.clean_up()
    _print(results)
    return int(any(stale or wrong for *_, stale, _, wrong in results.get("querybudget", [])))


def _run(library: str, only: str) -> list[Result]:
    """Return what a library's own process finds."""
    path = os.pathsep.join([str(HERE.parent), str(HERE.parent / "testproject"), str(HERE)])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "DJANGO_SETTINGS_MODULE": "correctness_settings",
        "QUERYBUDGET_LIBRARY": library,
    }
    command = [sys.executable, str(HERE / "correctness.py"), "--worker", library, "--only", only]
    print(f"{LIBRARIES[library]} ...", file=sys.stderr)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        results: list[Result] = [tuple(json.loads(line)) for line in process.stdout]
    if process.returncode:
        raise SystemExit(f"{LIBRARIES[library]}: its process failed; its own words are above")
    return results


def _print(results: dict[str, list[Result]]) -> None:
    libraries = list(results)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for library, found in results.items():
        for part, name, stale, total, wrong in found:
            cell = wrong or (f"{stale} of {total}" if stale else "-")
            rows.setdefault((part, name), {})[library] = cell
    width = max(len(name) for _, name in rows) + 2
    for part, title in [("write", "Kinds of writes: stale reads"), ("race", "Races: stale orders")]:
        print(f"\n{title:{width}}" + "".join(f"{LIBRARIES[name]:>22}" for name in libraries))
        for (its_part, name), cells in rows.items():
            if its_part == part:
                print(
                    f"{name:{width}}" + "".join(f"{cells.get(each, ''):>22}" for each in libraries)
                )
        totals = [
            sum(1 for its_part, _, stale, _, wrong in results[each] if its_part == part and stale)
            for each in libraries
        ]
        counts = [sum(1 for row in results[each] if row[0] == part) for each in libraries]
        cells = [f"{stale} of {of}" for stale, of in zip(totals, counts, strict=True)]
        print(f"{'rows with anything stale':{width}}" + "".join(f"{cell:>22}" for cell in cells))
    if "cacheops" in libraries:
        print(
            "\ndjango-cacheops does not claim to see update(), bulk methods and raw SQL: it has "
            "invalidated_update() and invalidate_*() to be called by hand."
        )


# In a library's own process


def _worker(library: str, only: str) -> Iterator[Result]:
    import django

    django.setup()
    from django.db import connections

    if library == "querybudget":
        from django.conf import settings

        settings.QUERYBUDGET["CACHE"].update(ALIAS="redis", MARK_TIMEOUT=60.0)
    creation = connections[ALIAS].creation
    connections[ALIAS].settings_dict["TEST"]["NAME"] = f"correctness_{library}"
    creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    yield from _writes(library, only)
    yield from _races(library, only)


def _writes(library: str, only: str) -> Iterator[Result]:
    import libraries
    from django.db import connections

    from tests.cache.reads import READS, answer
    from tests.cache.writes import KINDS

    cached = getattr(libraries, library)
    for name, kind in KINDS.items():
        if only not in name or connections[ALIAS].vendor not in kind.vendors:
            continue
        _reset()
        wrong = ""
        stale = 0
        try:
            for _ in range(2):
                for read in READS.values():
                    _quietly(library, lambda read=read: answer(read, cached, ALIAS))
            kind.run(ALIAS)
        except Exception as error:  # what a peer cannot do is a result
            wrong = type(error).__name__
        for read in READS.values():
            with libraries.without(library):
                true = answer(read, lambda queryset: queryset, ALIAS)
            # A read that a peer cannot do at all is not a stale one.
            seen = _quietly(library, lambda read=read: answer(read, cached, ALIAS), default=true)
            stale += seen != true
        yield ("write", name, stale, len(READS), wrong)


def _quietly(library: str, read: Callable[[], Any], default: Any = None) -> Any:
    if library == "querybudget":
        return read()  # it has to be able to
    try:
        return read()
    except Exception:  # what a peer cannot do is no stale read
        return default


def _reset() -> None:
    """Begin again with the same rows and an empty cache, past every library."""
    import psycopg
    import redis
    from django.conf import settings
    from django.contrib.contenttypes.models import ContentType
    from django.db import connections

    from tests.cache import world

    connection = connections[ALIAS]
    with psycopg.connect(dbname=connection.settings_dict["NAME"], **_where()) as own:
        rows = own.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables "
            "WHERE schemaname = 'public' AND tablename <> 'django_migrations'"
        ).fetchone()
        assert rows is not None
        own.execute(f"TRUNCATE {rows[0]} RESTART IDENTITY CASCADE")
    ContentType.objects.clear_cache()
    world.fill(ALIAS)
    with redis.Redis.from_url(settings.SUITE_REDIS_URL) as client:
        client.flushdb()


def _where() -> dict[str, Any]:
    from django.db import connections

    given = connections[ALIAS].settings_dict
    return {"host": given["HOST"], "user": given["USER"]}


def _races(library: str, only: str) -> Iterator[Result]:
    from django.conf import settings
    from django.db import connections

    from tests.cache.races import RACES

    querybudget = {"QUERYBUDGET": settings.QUERYBUDGET} if library == "querybudget" else {}
    setup = {
        "alias": ALIAS,
        "database": {"NAME": connections[ALIAS].settings_dict["NAME"]},
        "caches": {},
        "querybudget": querybudget.get("QUERYBUDGET"),
        "cached": f"libraries.{library}",
    }
    for name, race in RACES.items():
        if only in name and "postgresql" in race.vendors:
            stale, orders = _orders(library, setup, race)
            yield ("race", f"{name} {race.title}", stale, orders, "")


def _orders(library: str, setup: dict[str, Any], race: Any) -> tuple[int, int]:
    import libraries
    import psycopg
    import redis
    from django.conf import settings
    from django.db import connections

    from tests.cache import programs
    from tests.cache.actors import Actor, started
    from tests.cache.locks import waiting
    from tests.cache.orders import Explorer, Step

    if "snapshot" in race.title:
        from psycopg import IsolationLevel

        options = {"isolation_level": IsolationLevel.REPEATABLE_READ}
        setup = {**setup, "database": {**setup["database"], "OPTIONS": options}}
    reader, writer = Actor("reader", setup), Actor("writer", setup)
    stale = 0

    _reset()

    def reset() -> None:
        if library == "querybudget":
            for actor in (reader, writer):
                actor.run("forget")
        # Past every library, and light: this is done before each of thousands of orders.
        with psycopg.connect(dbname=connections[ALIAS].settings_dict["NAME"], **_where()) as own:
            own.execute("UPDATE payment_payment SET amount = 5 * id")
        with redis.Redis.from_url(settings.SUITE_REDIS_URL) as client:
            client.flushdb()
        if race.warm:
            reader.run("read", "key")

    def check(order: list[Step]) -> None:
        nonlocal stale
        del order
        with libraries.without(library):
            true = programs.read_the_database(ALIAS, "key")[0]
        wrong = writer.failure or reader.failure
        stale += bool(wrong) or any(
            actor.run("read", "key")[0] != true for actor in (reader, writer)
        )

    with started(reader, writer):
        for actor in (reader, writer):
            actor.survives = library != "querybudget"  # a peer that fails is a result
            actor.run("open_connections")
        explorer = Explorer(
            [reader, writer],
            {"reader": (race.reader, "key"), "writer": (race.write, 1, 1000)},
            waiting=partial(waiting, ALIAS),
        )
        orders = explorer.run(reset, check)
    connections.close_all()
    return stale, orders


if __name__ == "__main__":
    sys.exit(main())
