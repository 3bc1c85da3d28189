"""What manage.py check says of the cache's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core import checks
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.test import modify_settings, override_settings
from django.test.utils import isolate_apps
from redis import Redis

from django_querybudget.cache.stores import redis
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.conf import CacheSettings, Setting


def ids(cache: Any, *, deploy: bool = False) -> list[str]:
    with override_settings(QUERYBUDGET={"CACHE": cache}):
        found = checks.run_checks(tags=["querybudget"], include_deployment_checks=deploy)
    return [message.id for message in found if message.id is not None]


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ({}, []),
        ({"ALIAS": "none"}, ["querybudget.E020"]),
        ({"ALIAS": 1}, ["querybudget.E001"]),
        ({"TIMEOUT": "60"}, ["querybudget.E001"]),
        ({"TIMEOUT": None}, []),
        ({"TIMEOUT": 0}, ["querybudget.E001"]),
        ({"MARK_TIMEOUT": 0}, ["querybudget.E001"]),
        ({"TYPO": 1}, ["querybudget.E001"]),
        ({"SCOPES": {"no.Model": ["a"]}}, ["querybudget.E021"]),
        ({"SCOPES": {"payment.Payment": ["none"]}}, ["querybudget.E022"]),
        ({"SCOPES": {"payment.Payment": ["status"]}}, ["querybudget.E022"]),
        ({"SCOPES": {"payment.Payment": ["payer", "id"]}}, []),
        ({"SCOPES": ["payment.Payment"]}, ["querybudget.E001"]),
        ({"REPLICAS": {"other": {"primary": "default", "lag": 5}}}, []),
        ({"REPLICAS": {"other": {"primary": "none", "lag": 5}}}, ["querybudget.E023"]),
        ({"REPLICAS": {"other": {"primary": "other", "lag": 5}}}, ["querybudget.E023"]),
        ({"REPLICAS": {"other": "default"}}, ["querybudget.E001"]),
        ({"SCOPES": {"relations.Restaurant": ["name"]}}, ["querybudget.E022"]),
        ({"SCOPES": {"relations.Restaurant": ["id"]}}, ["querybudget.E022"]),
        ({"SCOPES": {"jobs.Job": ["subcategories"]}}, ["querybudget.E022"]),
        ({"SCOPES": {"payment.Payment": ["pk"]}}, ["querybudget.E022"]),
        ({"DELETE_SIGNALS": ["payment.Payment"]}, []),
        ({"DELETE_SIGNALS": ["payment.Nothing", "nothing"]}, ["querybudget.E026"] * 2),
        ({"DELETE_SIGNALS": "payment.Payment"}, ["querybudget.E001"]),
        ({"M2M_SIGNALS": ["jobs.Job_subcategories"]}, []),
        ({"M2M_SIGNALS": ["jobs.Job.subcategories"]}, ["querybudget.E026"]),
        ({"M2M_SIGNALS": [1]}, ["querybudget.E001"]),
        ({"IGNORED_TABLES": "a"}, ["querybudget.E001"]),
        ({"MARK_TIMEOUT": -1}, ["querybudget.E001"]),
        ({"MARK_TIMEOUT": "30"}, ["querybudget.E001"]),
        ({"IN_FLIGHT_MARKS": 1}, ["querybudget.E001"]),
        ({"TIMEOUT": True}, ["querybudget.E001"]),
        ({"TIMEOUT": -1}, ["querybudget.E001"]),
        ({"TIMEOUT": float("nan")}, ["querybudget.E001"]),
        ({"TIMEOUT": float("inf")}, ["querybudget.E001"]),
        ({"IGNORED_TABLES": ["a_table"]}, []),
        ({"IGNORED_TABLES": [""]}, ["querybudget.E001"]),
        ({"NEVER_STORE": "accounts.CustomUser"}, ["querybudget.E001"]),
        ({"NEVER_STORE": ["accounts.CustomUser", "accounts.CustomUser.email"]}, []),
        ({"NEVER_STORE": ["accounts.None"]}, ["querybudget.E028"]),
        ({"NEVER_STORE": ["accounts.CustomUser.none"]}, ["querybudget.E028"]),
        ({"NEVER_STORE": ["jobs.Job.subcategories"]}, ["querybudget.E028"]),
        ({"NEVER_STORE": ["CustomUser"]}, ["querybudget.E028"]),
        ({"FUNCTIONS": "own"}, ["querybudget.E001"]),
        ({"FUNCTIONS": [1]}, ["querybudget.E001"]),
        ({"DECODED_BYTES": -1}, ["querybudget.E001"]),
        ({"DECODED_BYTES": 1.5}, ["querybudget.E001"]),
        ({"MAX_BYTES": -1}, ["querybudget.E001"]),
        ({"MAX_BYTES": 0, "RECOVERY_TIME": 2, "TOKEN_PREFIX": "{site}:"}, []),
        ({"RECOVERY_TIME": -1}, ["querybudget.E001"]),
        ({"TOKEN_PREFIX": "a b"}, ["querybudget.E001"]),
        ({"AUDIT": 2}, ["querybudget.E001"]),
        ({"AUDIT": 0.001}, []),
        ({"VIEWS": ["jobs:list"]}, ["querybudget.E001"]),
        ({"VIEWS": {}}, []),
        ({"VIEWS": {"*": -1}}, ["querybudget.E060", "querybudget.W061"]),
        ({"SURROGATE_KEYS": "Cache-Tag"}, []),
        ({"SURROGATE_KEYS": "Tag"}, ["querybudget.E001"]),
        ({"LEASE_FROM": None}, []),
        ({"LEASE_FROM": -1}, ["querybudget.E001"]),
        ({"IDENTITY": {"default": "main"}}, []),
        ({"IDENTITY": {"none": "main"}}, ["querybudget.E024"]),
        ({"IDENTITY": {"default": ""}}, ["querybudget.E001"]),
        ({"IDENTITY": ["default"]}, ["querybudget.E001"]),
        ({"SESSION": "django.utils.timezone.get_current_timezone_name"}, []),
        ({"SESSION": "no.such.function"}, ["querybudget.E001"]),
        ({"SESSION": 1}, ["querybudget.E001"]),
        ({"IGNORED_VARIABLES": ["app.request"]}, []),
        ({"IGNORED_VARIABLES": "app.request"}, ["querybudget.E001"]),
        ({"ROW_SECURITY": {"payment.Payment": []}}, []),
        ({"ROW_SECURITY": {"payment.Payment": ["app.tenant"]}}, []),
        ({"ROW_SECURITY": {"payment.None": ["app.tenant"]}}, ["querybudget.E024"]),
        ({"ROW_SECURITY": ["payment.Payment"]}, ["querybudget.E001"]),
        ({"CLOCK_SKEW": None}, ["querybudget.E001"]),
        ({"CLOCK_SKEW": -0.1}, ["querybudget.E001"]),
        ({"REPLICAS": {"other": {"primary": "default", "lag": "5"}}}, ["querybudget.E001"]),
        ({"REPLICAS": {"other": {"primary": "default", "lag": -5}}}, ["querybudget.E001"]),
        ({"REPLICAS": {"none": {"primary": "default", "lag": 5}}}, ["querybudget.E023"]),
        ([], ["querybudget.E001"]),
    ],
)
def test_each_setting_is_checked(cache: Any, expected: list[str]) -> None:
    assert ids(cache) == expected


def test_no_setting_has_been_left_out_of_the_test_above() -> None:
    cases = [mark.args[1] for mark in test_each_setting_is_checked.pytestmark]  # type: ignore[attr-defined]
    wrong = {key for value, expected in cases[0] if expected for key in value}
    declared = {name for name, value in vars(CacheSettings).items() if isinstance(value, Setting)}
    assert wrong - {"TYPO"} == declared


def test_a_cache_that_processes_do_not_share_is_a_warning_for_deployment() -> None:
    assert ids({}) == []
    assert ids({}, deploy=True) == ["querybudget.W021"]
    assert ids({"ALIAS": "redis"}, deploy=True) == []


class OwnLocMemCache(LocMemCache):
    """A project's own, as they count or log what passes."""


class OwnDatabaseCache(DatabaseCache):
    """A project's own."""


class OwnDummyCache(DummyCache):
    """A project's own."""


@pytest.mark.parametrize("own", [OwnLocMemCache, OwnDatabaseCache, OwnDummyCache])
def test_a_class_of_a_projects_own_is_what_it_inherits_from(own: type, settings: Any) -> None:
    backend = {"BACKEND": f"{own.__module__}.{own.__name__}", "LOCATION": "own"}
    settings.CACHES = {**settings.CACHES, "own": backend}
    found = ids({"ALIAS": "own"}, deploy=True)
    if own is not OwnDatabaseCache:
        assert found == ["querybudget.W021"]
    elif connection.vendor == "sqlite":
        assert found == ["querybudget.W022", "querybudget.W021"]
    else:
        assert found == ["querybudget.W021"]


def test_a_backend_that_is_not_there_is_djangos_to_tell(settings: Any) -> None:
    settings.CACHES = {**settings.CACHES, "own": {"BACKEND": "no.such.LocMemCache"}}
    assert ids({"ALIAS": "own"}, deploy=True) == []


def test_a_store_of_our_own_for_redis_is_asked_as_redis_is(
    settings: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nearer(redis.RedisStore):
        pass

    # A project cannot name a store: a subclass is what this library's own may be one day.
    monkeypatch.setattr(redis, "RedisStore", Nearer)
    # One who may not ask for evictions tells all who read the same pulse that there may be some.
    own = {"ALIAS": "nearer", "TOKEN_PREFIX": "nearer:"}
    with Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "-info")
        location = redis_url.replace("://", "://mute:secret@", 1)
        backend = {**settings.CACHES["redis"], "LOCATION": location}
        settings.CACHES = {**settings.CACHES, "nearer": backend}
        assert type(store_for("nearer")) is Nearer
        assert "querybudget.W027" in ids(own, deploy=True)
        assert client.exists("nearer:qb:pulse")
        client.execute_command("ACL", "DELUSER", "mute")


def test_a_cache_that_is_used_without_settings_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apps.get_app_config("django_querybudget"), "watches_writes", False)
    with override_settings(QUERYBUDGET={}):
        [message] = checks.run_checks(tags=["querybudget"])
    assert message.id == "querybudget.W020"


USES_THE_CACHE = "from django_querybudget.cache import cached_queryset\nurlpatterns = []\n"
USES_IT_IN_AN_APP = """
from django.urls import include, path
urlpatterns = [path("shop/", include("shop_urls"))]
"""


def w020_of_a_project(folder: Path, urlconf: str, settings: str = "") -> bool:
    """Return whether ``manage.py check`` of a project with that URLconf, run anew, says W020."""
    (folder / "project_urls.py").write_text(urlconf)
    (folder / "shop_urls.py").write_text(USES_THE_CACHE)
    (folder / "project_settings.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['django_querybudget']\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
        f"ROOT_URLCONF = 'project_urls'\n{settings}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "django", "check"],
        capture_output=True, text=True, check=False,
        env={
            "DJANGO_SETTINGS_MODULE": "project_settings",
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        },
    )  # fmt: skip
    return "querybudget.W020" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("urlconf", "settings", "expected"),
    [
        (USES_THE_CACHE, "", True),
        (USES_IT_IN_AN_APP, "", True),
        ("urlpatterns = []", "", False),
        ("raise RuntimeError", "", False),
        (USES_THE_CACHE, "QUERYBUDGET = {'CACHE': {}}", False),
        (USES_THE_CACHE, "ROOT_URLCONF = None", False),
    ],
)
def test_a_project_whose_views_use_the_cache_without_settings_is_told(
    tmp_path: Path, urlconf: str, settings: str, expected: bool
) -> None:
    """Nothing has imported the views when the check runs."""
    assert w020_of_a_project(tmp_path, urlconf, settings) is expected


EVERY_SETTING = {
    "ALIAS": "redis",
    "SCOPES": {"payment.Payment": ["payer"]},
    "DELETE_SIGNALS": ["payment.Payment"],
    "REPLICAS": {"other": {"primary": "default", "lag": 5}},
}


@pytest.mark.parametrize("cache", [None, {}, EVERY_SETTING], ids=["without", "empty", "all"])
def test_the_checks_run_while_the_app_is_not_in_the_registry(cache: Any) -> None:
    """As ``available_apps``, ``modify_settings`` and ``isolate_apps`` of a host's tests have it."""
    settings: dict[str, Any] = {} if cache is None else {"CACHE": cache}
    with (
        override_settings(QUERYBUDGET=settings),
        modify_settings(INSTALLED_APPS={"remove": ["django_querybudget"]}),
    ):
        assert checks.run_checks(tags=["querybudget"], include_deployment_checks=True) is not None
    with override_settings(QUERYBUDGET=settings), isolate_apps("tests.cache.relations") as registry:
        assert errors(app_configs=registry.get_app_configs()) == []
    names = [config.name for config in apps.get_app_configs()]
    apps.set_available_apps([name for name in names if "querybudget" not in name])
    try:
        with override_settings(QUERYBUDGET=settings):
            assert errors() == []
    finally:
        apps.unset_available_apps()


def errors(**options: Any) -> list[checks.CheckMessage]:
    found = checks.run_checks(tags=["querybudget"], **options)
    return [message for message in found if message.is_serious()]
