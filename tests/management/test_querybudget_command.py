"""manage.py querybudget: what its subcommands share."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from django.core.management.base import BaseCommand

from django_querybudget.management.commands.querybudget import Command
from django_querybudget.management.subcommands import subcommands
from tests.ratchet.project import Project


def common_options() -> list[str]:
    """Every option that Django gives each command, but for those that make no sense here."""
    parser = BaseCommand().create_parser("manage.py", "any")
    flags = {flag for action in parser._actions for flag in action.option_strings}
    # Checks are skipped by this command in any case; the versions are told at once.
    return sorted(flags - {"-h", "--help", "--version", "--skip-checks"})


# What a subcommand wants besides its name.
WANTED = {"cache": ["stats"], "compare": ["main"], "explain": ["jobs:list"]}
NAMES = [[name, *WANTED.get(name, [])] for name in sorted(subcommands())]


@pytest.mark.parametrize("names", NAMES, ids=" ".join)
@pytest.mark.parametrize("option", common_options())
def test_djangos_common_options_are_known_behind_the_subcommand(
    names: list[str], option: str
) -> None:
    parser = Command().create_parser("manage.py", "querybudget")
    takes: Any = next(
        action
        for action in BaseCommand().create_parser("manage.py", "any")._actions
        if option in action.option_strings
    )
    value = [] if isinstance(takes, argparse._StoreTrueAction) else ["2"]
    options = vars(parser.parse_args([*names, option, *value]))
    assert str(options[takes.dest]) == (value[0] if value else "True")
    before = vars(parser.parse_args([option, *value, *names]))
    assert before[takes.dest] == options[takes.dest]


def test_the_settings_behind_the_subcommand_are_those_that_are_read(project: Project) -> None:
    text = (project.folder / "host" / "settings.py").read_text()
    (project.folder / "host" / "other.py").write_text(
        text.replace('"NAME": ":memory:"', '"NAME": "elsewhere.sqlite3"')
    )
    status, output = project.manage("querybudget", "indexes", "--settings=host.other")
    assert status == 0, output
    assert (project.folder / "elsewhere.sqlite3").exists()
