"""What is held for the settings of a project that is tried: in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from django_querybudget.trying.launching import run

OURS = "django_querybudget.middleware.QueryBudgetMiddleware"
PROGRAM = """
import json, sys
from django.conf import LazySettings, global_settings, settings
from django.test.utils import modify_settings, override_settings

told = {}
settings.configure(INSTALLED_APPS=("django.contrib.auth",))
told["configured"] = [settings.INSTALLED_APPS, settings.MIDDLEWARE, settings.TEST_RUNNER]
told["tuples"] = type(settings.INSTALLED_APPS) is tuple
with override_settings(MIDDLEWARE=["a.B"]):
    told["overridden"] = settings.MIDDLEWARE
    with modify_settings(MIDDLEWARE={"append": "c.D"}):
        told["modified"] = settings.MIDDLEWARE
settings.MIDDLEWARE = ["e.F"]
told["assigned"] = settings.MIDDLEWARE
settings.INSTALLED_APPS += ("django.contrib.sessions",)
told["added"] = settings.INSTALLED_APPS

import types
def read(name, **values):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(SECRET_KEY="x", **values)
    import django.conf
    return django.conf.Settings(name)

ours = read("ours", INSTALLED_APPS=["django_querybudget"], MIDDLEWARE=["a.B", OURS])
told["ours"] = [ours.INSTALLED_APPS, ours.MIDDLEWARE, ours.SETTINGS_MODULE]
config = read("config", INSTALLED_APPS=["django_querybudget.apps.QueryBudgetConfig"])
told["config"] = [config.INSTALLED_APPS, config.is_overridden("MIDDLEWARE")]
try:
    read("bad", INSTALLED_APPS="shop")
except Exception as error:
    told["bad"] = str(error)
told["defaults"] = [global_settings.INSTALLED_APPS, global_settings.MIDDLEWARE]
print(json.dumps(told))
"""


def test_settings_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(f"OURS = {OURS!r}\n{PROGRAM}")
    with (tmp_path / "out").open("w") as out:
        assert run([sys.executable, str(tmp_path / "program.py")], tmp_path, stdout=out) == 0
    told = json.loads((tmp_path / "out").read_text())
    apps = ["django.contrib.auth", "django_querybudget"]
    runner = "django_querybudget.trying.runner.TryingRunner"
    assert told["configured"] == [apps, [OURS], runner]
    assert told["tuples"]
    assert told["overridden"] == [OURS, "a.B"]
    assert told["modified"] == [OURS, "a.B", "c.D"]
    assert told["assigned"] == [OURS, "e.F"]
    assert told["added"] == [*apps, "django.contrib.sessions"]
    # A project that has us is left as it is.
    assert told["ours"] == [["django_querybudget"], ["a.B", OURS], "ours"]
    assert told["config"] == [["django_querybudget.apps.QueryBudgetConfig"], False]
    assert told["bad"] == "The INSTALLED_APPS setting must be a list or a tuple."
    assert told["defaults"] == [[], []]
