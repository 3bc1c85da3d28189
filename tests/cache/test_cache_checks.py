"""What manage.py check says of the cache's settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.core import checks
from django.test import override_settings

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


def test_a_cache_that_is_used_without_settings_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apps.get_app_config("django_querybudget"), "watches_writes", False)
    with override_settings(QUERYBUDGET={}):
        [message] = checks.run_checks(tags=["querybudget"])
    assert message.id == "querybudget.W020"
