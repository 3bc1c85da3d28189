"""Libraries that take turns: each has a process of its own, which runs a block when it is asked to.

``caching.py``, ``hitrate.py`` and ``users.py`` compare libraries so, since these patch what the
others use, and since what else runs on the machine is then shared by all. ``views.py`` has the
servers and the settings from here. To import this makes the test project importable.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate, islice
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "testproject")]

Libraries = Mapping[str, str | None]
"""The app that each library needs; the first is "no cache"."""
Process = subprocess.Popen[str]

OURS = "django_querybudget"
TIMEOUT = 600
BLOCK = 50
"""Of a trace: its steps in one turn."""


# The process that starts the others


@contextmanager
def servers(*, own_database: bool = False) -> Iterator[None]:
    """Start the servers that the environment does not name."""
    from tests.servers import PostgreSQL, Redis, Run

    run = Run.current()
    if not os.environ.get("REDIS_URL"):
        Redis(run).start()
    if own_database or not os.environ.get("DATABASE_URL"):
        PostgreSQL(run).start()
    try:
        yield
    finally:
        run.clean_up()


def main(
    parser: argparse.ArgumentParser,
    *,
    fill: Callable[[], None],
    serve: Callable[[str, argparse.Namespace], None],
    compare: Callable[[argparse.Namespace], None],
    own_database: bool = False,
) -> None:
    """Compare; in the processes that this starts, fill the database or be one library's."""
    parser.add_argument("--library", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.library == "fill":
        fill()
    elif options.library:
        serve(options.library, options)
    else:
        with servers(own_database=own_database):
            subprocess.run(_command("fill"), check=True)
            compare(options)


def _command(library: str) -> list[str]:
    return [sys.executable, *sys.argv, "--library", library]


def start(libraries: Libraries, wanted: Collection[str]) -> dict[str, Process]:
    """Start a process for no cache and for each library that is wanted and installed."""
    processes: dict[str, Process] = {}
    for library, app in libraries.items():
        if library != "no cache" and library not in wanted:
            continue
        if app and importlib.util.find_spec(app) is None:
            print(f"{library}: not installed, left out")
            continue
        processes[library] = subprocess.Popen(
            _command(library), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    return processes


def ask(processes: Mapping[str, Process], line: str) -> Iterator[tuple[str, str]]:
    """Let each have its turn; return its line.

    In no fixed order: what one leaves behind (vacuum, checkpoints) is the next one's.
    """
    for library, process in random.sample(list(processes.items()), len(processes)):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        if not (answer := process.stdout.readline()):
            raise SystemExit("A library's process failed; its own words are above.")
        yield library, answer


# In a library's own process


def redis_url() -> str:
    """Return the address of the Redis that is named, or was started."""
    from tests.servers import Redis, Run

    return os.environ.get("REDIS_URL") or Redis(Run.current()).url()


def configure(app: str | None, *, own: tuple[str, int] | None = None, **settings: Any) -> None:
    """Configure Django for an app; ``own`` is a PostgreSQL database's name, a Redis database's."""
    import django
    from django import conf

    from tests.servers import PostgreSQL, Run

    redis = redis_url()
    if own is None and (url := os.environ.get("DATABASE_URL")):
        import dj_database_url

        database = dj_database_url.parse(url)
    else:
        database = PostgreSQL(Run.current()).settings()
    if own:
        database["NAME"] = own[0]
        redis += f"{'&' if '?' in redis else '?'}db={own[1]}"
    defaults = {
        "DATABASES": {"default": database},
        "CACHES": {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis}},
        "ALLOWED_HOSTS": ["testserver"],
        "SECRET_KEY": "only here",  # signs nothing that leaves this process
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        "AUTH_USER_MODEL": "accounts.CustomUser",
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "USE_TZ": True,
        "QUERYBUDGET": {"CACHE": {}},
        "CACHALOT_TIMEOUT": TIMEOUT,
        "CACHEOPS_REDIS": redis,
        "CACHEOPS": {"*.*": {"ops": (), "timeout": TIMEOUT}},
    }
    more = settings.pop("INSTALLED_APPS", [])
    apps = ["django.contrib.contenttypes", "django.contrib.auth", "accounts", "jobs", *more]
    apps = [app, *apps] if app else apps
    conf.settings.configure(**{**defaults, **settings}, INSTALLED_APPS=apps)
    django.setup()


def wait_for_the_pulse() -> None:
    """A cache that was emptied rests for two seconds, before anyone trusts it."""
    from django_querybudget.cache import cache_stats, cached_queryset
    from jobs.models import Industry

    until = perf_counter() + 10
    while not cache_stats(reset=True).hits:
        if perf_counter() > until:
            raise SystemExit("Nothing is cached.")
        list(cached_queryset(Industry.objects.all()))
        list(cached_queryset(Industry.objects.all()))
        time.sleep(0.1)


# A trace of steps, the same for all, each on databases of its own


def zipf(size: int, power: float = 1.0) -> list[float]:
    """Return the cumulated weights of so many, by Zipf's law."""
    return list(accumulate(1 / rank**power for rank in range(1, size + 1)))


class Run(ABC):
    """One library's way through a trace."""

    def __init__(self, steps: Iterator[Any], delay: float = 0.0) -> None:
        from django.core.cache import cache
        from django.db import connection

        cache.clear()
        self.steps, self.delay = steps, delay
        self.queries = self.stale = self.done = 0
        self.spent = 0.0
        self.counted = False
        connection.execute_wrappers.append(self._count)

    def _count(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self.counted:
            self.queries += 1
            if self.delay:
                time.sleep(self.delay)
        return execute(sql, params, many, context)

    def go(self, steps: int) -> None:
        for step in islice(self.steps, steps):
            self.done += 1
            self.step(*step)

    def timed(self, call: Callable[[], Any]) -> tuple[Any, float]:
        """Call it with the clock running and the queries counted."""
        self.counted = True
        began = perf_counter()
        found = call()
        seconds = perf_counter() - began
        self.counted = False
        self.spent += seconds
        return found, seconds

    @abstractmethod
    def step(self, *step: Any) -> None: ...

    @abstractmethod
    def figures(self) -> dict[str, Any]: ...


def trace_main(
    parser: argparse.ArgumentParser,
    libraries: Libraries,
    *,
    settings: Callable[[str], dict[str, Any]],
    fill: Callable[[], None],
    run: Callable[[str, argparse.Namespace], Run],
    print_table: Callable[[dict[str, dict[str, Any]]], None],
) -> None:
    """Let the libraries take turns on a trace, and print their figures."""
    numbers = {library: number for number, library in enumerate(libraries)}

    def fill_all() -> None:
        import psycopg

        from tests import servers

        own = servers.PostgreSQL(servers.Run.current()).settings()
        where = {"host": own["HOST"], "user": own["USER"], "dbname": own["NAME"]}
        with psycopg.connect(**where, autocommit=True) as psql:
            psql.execute("CREATE DATABASE filled")
            configure(None, own=("filled", 0), **settings("no cache"))
            from django.core.management import call_command
            from django.db import connection

            call_command("migrate", verbosity=0, interactive=False)
            fill()
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
            connection.close()
            for number in numbers.values():
                psql.execute(f"CREATE DATABASE copy_{number} TEMPLATE filled")

    def serve(library: str, options: argparse.Namespace) -> None:
        number, app = numbers[library], libraries[library]
        configure(app, own=(f"copy_{number}", number), **settings(library))
        its = run(library, options)
        if app == OURS:
            wait_for_the_pulse()
        for line in sys.stdin:
            its.go(int(line))
            print(".", flush=True)
        print(json.dumps(its.figures()), flush=True)

    def compare(options: argparse.Namespace) -> None:
        processes = start(libraries, options.only or libraries)
        for _ in range(0, options.steps, BLOCK):
            for _ in ask(processes, str(BLOCK)):
                pass
        print_table({name: json.loads(each.communicate()[0]) for name, each in processes.items()})

    parser.add_argument("--only", choices=libraries, action="append", help="with no cache, these")
    main(parser, fill=fill_all, serve=serve, compare=compare, own_database=True)
