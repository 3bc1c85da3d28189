"""Settings: typed, read live, with one default each; a bad value is said, never a crash."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import override_settings

from django_querybudget.conf import InvalidSetting, QueryBudgetSettings, Section, Setting, conf


def send_to_all(request: HttpRequest) -> bool:
    return True


def errors(**values: Any) -> list[InvalidSetting]:
    with override_settings(QUERYBUDGET=values):
        return list(conf.errors())


def test_the_defaults_stand_without_any_setting() -> None:
    with override_settings(QUERYBUDGET={}):
        assert conf.ENABLED is True
        assert conf.HEADERS is None
        assert conf.IGNORE_PATHS == ()
        assert conf.ORIGINS is True
        assert conf.SAMPLE_RATE == 1.0
    with override_settings():
        from django.conf import settings

        settings.QUERYBUDGET = None
        assert conf.ENABLED is True
        assert list(conf.errors()) == []


def test_settings_are_read_live() -> None:
    with override_settings(QUERYBUDGET={"SAMPLE_RATE": 0}):
        assert conf.SAMPLE_RATE == 0.0
        with override_settings(QUERYBUDGET={"SAMPLE_RATE": 0.5}):
            assert conf.SAMPLE_RATE == 0.5
        assert conf.SAMPLE_RATE == 0.0


@pytest.mark.parametrize("policy", [True, False, None])
def test_headers_accepts_a_policy(policy: bool | None) -> None:
    with override_settings(QUERYBUDGET={"HEADERS": policy}):
        assert conf.HEADERS is policy


@pytest.mark.parametrize("policy", ["tests.test_conf.send_to_all", send_to_all])
def test_headers_accepts_a_callable_by_path_or_itself(policy: Any) -> None:
    with override_settings(QUERYBUDGET={"HEADERS": policy}):
        assert conf.HEADERS is send_to_all


def test_ignored_paths_are_compiled() -> None:
    with override_settings(QUERYBUDGET={"IGNORE_PATHS": ["^/health"]}):
        assert (re.compile("^/health"),) == conf.IGNORE_PATHS


@pytest.mark.parametrize(
    ("key", "value", "accepts"),
    [
        ("ENABLED", 1, "True or False"),
        ("ENABLED", "yes", "True or False"),
        ("HEADERS", "no.such.callable", "No module named 'no'"),
        ("HEADERS", "nodots", "doesn't look like a module path"),
        ("HEADERS", "tests.test_conf.nothing_here", "nothing_here"),
        ("HEADERS", "tests.test_conf", "not callable"),
        ("DOCS_URL", "docs.example.com", "an address that begins with https://"),
        ("DOCS_URL", "https://docs.example.com/a b", "an address that begins with https://"),
        ("DOCS_URL", 3, "an address that begins with https://"),
        ("HEADERS", 3, "dotted path of a callable"),
        ("IGNORE_PATHS", "^/health", "a list of regular expressions"),
        ("IGNORE_PATHS", ["("], "unterminated subpattern"),
        ("IGNORE_PATHS", [3], "a list of regular expressions"),
        ("ORIGINS", None, "True or False"),
        ("SAMPLE_RATE", 1.5, "a number from 0"),
        ("SAMPLE_RATE", -0.1, "a number from 0"),
        ("SAMPLE_RATE", "1", "a number from 0"),
        ("SAMPLE_RATE", True, "a number from 0"),
        ("SAMPLE_RATE", float("nan"), "a number from 0"),
    ],
)
def test_a_bad_value_is_named_with_what_the_setting_accepts(
    key: str, value: object, accepts: str
) -> None:
    [error] = errors(**{key: value})
    assert error.name == f'QUERYBUDGET["{key}"]'
    assert repr(value) in str(error)
    assert accepts in str(error)


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    [error] = errors(HEADER=True)
    assert str(error).startswith('QUERYBUDGET["HEADER"] is unknown.')
    assert "ENABLED, HEADERS, IGNORE_PATHS" in error.hint


def test_a_key_that_is_no_string_is_unknown_too() -> None:
    with override_settings(QUERYBUDGET={3: True}):
        assert [error.name for error in conf.errors()] == ['QUERYBUDGET["3"]']


@pytest.mark.parametrize("whole", [[], "ENABLED", True])
def test_a_querybudget_that_is_no_dict(whole: object) -> None:
    with override_settings(QUERYBUDGET=whole):
        [error] = conf.errors()
        assert str(error) == f"QUERYBUDGET is {whole!r}. It accepts a dict."
        assert conf.ENABLED is True


def test_every_error_is_reported_not_the_first() -> None:
    assert len(errors(ENABLED=3, SAMPLE_RATE=3, TYPO=3)) == 3


def test_a_bad_value_met_by_a_request_is_logged_once_and_the_default_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        override_settings(QUERYBUDGET={"SAMPLE_RATE": 7.5}),
        caplog.at_level(logging.ERROR, "django_querybudget"),
    ):
        assert [conf.SAMPLE_RATE for _ in range(3)] == [1.0, 1.0, 1.0]
    [record] = caplog.records
    assert 'QUERYBUDGET["SAMPLE_RATE"] is 7.5.' in record.getMessage()
    assert "Going on with the default, 1.0" in record.getMessage()


class InnerSettings(Section):
    SIZE = Setting[int](default=3, parse=int, accepts="a whole number")


class OuterSettings(Section):
    INNER = InnerSettings()


def test_a_section_inside_of_a_section() -> None:
    outer = OuterSettings()
    outer.name = "NESTED"
    with override_settings(NESTED={"INNER": {"SIZE": "5"}}):
        assert outer.INNER.SIZE == 5
    with override_settings(NESTED={"INNER": {"SIZE": "x", "SIZES": 1}}):
        names = [error.name for error in outer.errors()]
        assert names == ['NESTED["INNER"]["SIZE"]', 'NESTED["INNER"]["SIZES"]']
    with override_settings(NESTED={"INNER": 3}):
        [error] = outer.errors()
        assert str(error) == 'NESTED["INNER"] is 3. It accepts a dict.'
        assert outer.INNER.SIZE == 3


def test_every_setting_says_what_it_accepts_and_its_default_is_accepted() -> None:
    for name, member in vars(QueryBudgetSettings).items():
        if isinstance(member, Setting):
            assert member.accepts, name
            member.parse(member.default)


def test_a_value_that_raises_anything_is_a_bad_value_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "policy_that_divides.py").write_text("1 / 0")
    (tmp_path / "policy_that_does_not_parse.py").write_text("def (")
    for module in ("policy_that_divides", "policy_that_does_not_parse"):
        [error] = errors(HEADERS=f"{module}.policy")
        assert error.name == 'QUERYBUDGET["HEADERS"]'
        with override_settings(QUERYBUDGET={"HEADERS": f"{module}.policy"}):
            assert conf.HEADERS is None
    for pattern in ("a{99999999999999999999}", "(" * 50_000):
        [error] = errors(IGNORE_PATHS=[pattern])
        assert error.name == 'QUERYBUDGET["IGNORE_PATHS"]'
        with override_settings(QUERYBUDGET={"IGNORE_PATHS": [pattern]}):
            assert conf.IGNORE_PATHS == ()


@pytest.mark.parametrize("pattern", [b"^/health", re.compile(b"^/health")])
def test_a_pattern_of_bytes_is_refused_since_no_path_could_be_searched(pattern: Any) -> None:
    [error] = errors(IGNORE_PATHS=[pattern])
    assert "b'^/health' matches bytes" in str(error)
    with override_settings(QUERYBUDGET={"IGNORE_PATHS": [pattern]}):
        assert conf.IGNORE_PATHS == ()


class AsyncPolicy:
    async def __call__(self, request: HttpRequest) -> bool:
        return False


async def send_to_nobody(request: HttpRequest) -> bool:
    return False


@pytest.mark.parametrize(
    "policy", ["tests.test_conf.send_to_nobody", send_to_nobody, AsyncPolicy()]
)
def test_an_async_policy_is_refused_since_a_coroutine_is_always_true(policy: Any) -> None:
    [error] = errors(HEADERS=policy)
    assert "it is async" in str(error)
    with override_settings(QUERYBUDGET={"HEADERS": policy}):
        assert conf.HEADERS is None
    # Nor is it asked what a session decides: nothing would ever be cached.
    [error] = errors(CACHE={"SESSION": policy})
    assert "it is async" in str(error)
