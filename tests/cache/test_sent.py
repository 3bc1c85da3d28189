"""The host's statements stay its own: fast deletes stay fast, and nothing is sent besides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections

from tests.cache import world

ALIASES = [
    pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]))
    for alias in ("default", "postgres", "mariadb")
]


@pytest.fixture
def sent(alias: str, db: None) -> dict[str, dict[str, Any]]:
    """What a process sends with the library, and what one without it."""
    del db
    name = str(connections[alias].settings_dict["NAME"])
    answers = {}
    for mode in ("with", "without"):
        # Sequences do not go back with a transaction.
        call_command("flush", database=alias, interactive=False, verbosity=0)
        ContentType.objects.clear_cache()
        world.fill(alias)
        answers[mode] = _sent_by(mode, alias, name)
    return answers


def _sent_by(mode: str, alias: str, name: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "0"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)  # the program has settings of its own
    done = subprocess.run(
        [sys.executable, "-m", "tests.cache.sent", mode, alias, name],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("alias", ALIASES)
def test_each_kind_of_write_sends_what_it_sends_without_the_library(
    sent: dict[str, dict[str, Any]],
) -> None:
    ours, plain = sent["with"], sent["without"]
    assert len(plain["sent"]) > 90
    assert all(plain["sent"].values())
    for kind, statements in plain["sent"].items():
        if kind == "loaddata":  # it checks the tables in the order of a set
            assert sorted(ours["sent"][kind]) == sorted(statements)
        else:
            assert ours["sent"][kind] == statements, kind
    assert ours["sent"].keys() == plain["sent"].keys()
    # Which models are deleted unseen is Django's own decision; some are, some are not.
    of_ours = {label for label in ours["fast"] if label.startswith("django_querybudget.")}
    assert {label: ours["fast"][label] for label in ours["fast"].keys() - of_ours} == plain["fast"]
    assert set(plain["fast"].values()) == {True, False}
    # A model that nothing refers to: one statement.
    [delete] = ours["sent"]["delete_that_is_fast"]
    assert delete.startswith("DELETE FROM")
    [delete] = ours["sent"]["raw_delete"]
    assert delete.startswith("DELETE FROM")
