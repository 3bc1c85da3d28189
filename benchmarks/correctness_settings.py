"""Settings of benchmarks/correctness.py: the suite's, with one library that caches querysets."""

import os

from tests.settings import *  # noqa: F403 - as the suite has them
from tests.settings import CACHES, INSTALLED_APPS, MIDDLEWARE, SUITE_REDIS_URL

LIBRARY = os.environ["QUERYBUDGET_LIBRARY"]

if LIBRARY != "querybudget":
    INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "django_querybudget"]
    MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("django_querybudget")]
    del QUERYBUDGET  # noqa: F821  # the suite's

if LIBRARY == "cacheops":
    INSTALLED_APPS = ["cacheops", *INSTALLED_APPS]
    CACHEOPS_REDIS = SUITE_REDIS_URL
    CACHEOPS = {"*.*": {"ops": (), "timeout": 600}}

if LIBRARY == "cachalot":
    INSTALLED_APPS = ["cachalot", *INSTALLED_APPS]
    CACHALOT_CACHE = "redis"
    CACHALOT_TIMEOUT = 600
    CACHALOT_DATABASES = {"default", "other", "postgres", "mariadb"}
    CACHALOT_UNCACHABLE_TABLES = frozenset()

assert CACHES["redis"]
