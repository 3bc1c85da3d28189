"""Settings of the suite: the marketplace's, and one alias for each real database server.

A server that ``DATABASE_URL`` or ``REDIS_URL`` names is used instead of one of our own. The
servers themselves are started later, by the fixtures of ``conftest``, and only if a test asks.
"""

import os
from pathlib import Path

from marketplace.settings import *  # noqa: F403 - as settings are extended
from marketplace.settings import CACHES, DATABASES, INSTALLED_APPS, TEMPLATES
from tests.servers import MariaDB, Memcached, PgBouncer, PostgreSQL, Redis, Run

# Models of the tests' own: the N+1 corpus.
INSTALLED_APPS = [*INSTALLED_APPS, "tests.nplusone"]
TEMPLATES = [{**TEMPLATES[0], "DIRS": [Path(__file__).parent / "templates"]}]

RUN = Run.current()
# Each worker of xdist has a Redis to itself: scripts and users belong to the server, not to one of
# its databases. A server that REDIS_URL names is for one worker (-n 0).
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
POSTGRESQL, MARIADB, REDIS = PostgreSQL(RUN), MariaDB(RUN), Redis(RUN, number=_worker)
MEMCACHED, PGBOUNCER = Memcached(RUN), PgBouncer(RUN)

_given = DATABASES["default"] if os.environ.get("DATABASE_URL") else {"ENGINE": ""}
GIVEN_VENDOR = _given["ENGINE"].rpartition(".")[2]

for _alias in ("default", "other"):
    if DATABASES[_alias]["ENGINE"] == "django.db.backends.sqlite3":
        # In a file, not in memory: threads of async code get connections of their own. Nothing
        # here survives the machine's crash, so no commit waits for the disk.
        _file = RUN.folder / f"{_alias}.sqlite3"
        DATABASES[_alias] = {
            **DATABASES[_alias],
            "NAME": _file,
            "OPTIONS": {"init_command": "PRAGMA synchronous = OFF"},
            "TEST": {"NAME": str(_file)},
        }

if GIVEN_VENDOR == "postgresql":
    DATABASES["postgres"] = {**_given, "TEST": {"NAME": "test_querybudget_postgres"}}
else:
    DATABASES["postgres"] = POSTGRESQL.settings()

if GIVEN_VENDOR == "mysql":
    DATABASES["mariadb"] = {**_given, "TEST": {"NAME": "test_querybudget_mariadb"}}
elif MARIADB.program():
    DATABASES["mariadb"] = MARIADB.settings()

for _alias in DATABASES.keys() - {"default"}:
    # Django's default is to depend on "default", which a run of a few tests may not set up.
    DATABASES[_alias].setdefault("TEST", {})["DEPENDENCIES"] = []

if "mariadb" in DATABASES:
    import pymysql

    pymysql.install_as_MySQLdb()

SUITE_REDIS_URL = os.environ.get("REDIS_URL") or REDIS.url()
CACHES["redis"] = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": SUITE_REDIS_URL}

INSTALLED_APPS += ["tests.cache.relations", "tests.cache.hosts", "polymorphic"]
# The hashes of real passwords are slow by design.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Its own cache of translations has a timeout, and no more.
PARLER_ENABLE_CACHING = False

QUERYBUDGET = {
    "CACHE": {
        # Two of each kind: refined (so that a receiver listens) and, all others, not.
        "SCOPES": {
            "payment.Payment": ["payer", "recipient"],
            "jobs.Application": ["job"],
            "relations.Like": ["book"],
        },
    },
}

# The suite's caches are cleared and asked again at once. The tests of the worst day set it.
from django_querybudget.conf.sections import CacheSettings  # noqa: E402

CacheSettings.RECOVERY_TIME.default = 0.0
# On a busy machine any query is dear at times, and trips are counted. test_leases sets it.
CacheSettings.LEASE_FROM.default = None
