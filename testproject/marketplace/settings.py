"""Settings of the marketplace: the demo of django-querybudget and the ground of its tests.

Nothing is needed from outside: SQLite files beside manage.py and a cache in memory. The
environment may name real servers:

- ``DATABASE_URL``: the default database (needs dj-database-url, in the extra ``demo``).
- ``REDIS_URL``: the cache, through django-redis.
- ``MARKETPLACE_DB``, ``MARKETPLACE_OTHER_DB``: the files of the two SQLite databases.
- ``DJANGO_DEBUG``: ``1`` turns DEBUG on; it is off otherwise.
"""

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = os.environ.get("DJANGO_DEBUG", "").lower() in {"1", "true", "yes", "on"}
SECRET_KEY = "demo-only-secret-key-of-the-marketplace-test-project"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_querybudget",
    "marketplace",
    "accounts",
    "jobs",
    "payment",
    "rating",
]

MIDDLEWARE = [
    # First, so that the queries of every other middleware are counted too.
    "django_querybudget.middleware.QueryBudgetMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "marketplace.urls"
WSGI_APPLICATION = "marketplace.wsgi.application"
ASGI_APPLICATION = "marketplace.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _sqlite(variable: str, filename: str) -> dict[str, Any]:
    """Return the settings of a SQLite file, which the environment variable may move."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get(variable) or BASE_DIR / filename,
    }


DATABASES: dict[str, Any] = {
    "default": _sqlite("MARKETPLACE_DB", "db.sqlite3"),
    "other": _sqlite("MARKETPLACE_OTHER_DB", "other.sqlite3"),
}
if DATABASE_URL := os.environ.get("DATABASE_URL"):
    import dj_database_url

    DATABASES["default"] = dj_database_url.parse(DATABASE_URL)
    if DATABASES["default"]["ENGINE"] == "django.db.backends.mysql":
        # The extra ``mysql`` brings PyMySQL, which needs no compiler; Django asks for MySQLdb.
        import pymysql

        pymysql.install_as_MySQLdb()

if REDIS_URL := os.environ.get("REDIS_URL"):
    CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL}}
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# Each process of the project invalidates; a user's payments are told apart from another's.
QUERYBUDGET: dict[str, Any] = {
    # The demo reads them from the responses; a site shows them to who may see what queries tell.
    "HEADERS": True,
    "CACHE": {"SCOPES": {"payment.Payment": ["payer", "recipient"]}},
}

# A session in a cookie costs no query: what is counted is the view's own.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
AUTH_USER_MODEL = "accounts.CustomUser"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    # Of sessions that were begun with it: the demo's, for the cached endpoints.
    "accounts.backends.CachedUserBackend",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The demo has all 22 documented indexes, though a foreign key or a unique field gives 12 of them:
# a project would set index_skip_redundant instead.
SILENCED_SYSTEM_CHECKS = ["querybudget.I030"]
if not REDIS_URL:
    # The demo is one process: no other's writes are to be seen.
    SILENCED_SYSTEM_CHECKS.append("querybudget.W021")

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
STATIC_URL = "static/"
