"""A rolling deployment: two versions of a project's code, as processes, on one Redis."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from django_querybudget.cache.reading.versions import MOST, code_version, spelled_code

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django_querybudget", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": %r}}
CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": %r,
                      "KEY_PREFIX": %r}}
QUERYBUDGET = {"CACHE": {}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
"""

# One set of classes for each function, so that a change for one is none for the others.
CLASSES = """
class {kind}QuerySet(models.QuerySet):
    def made(self):
        return {made}

class {kind}Manager(models.Manager):
    def offered(self):
        return {offered}

class {kind}(models.Model):
    name = models.CharField(max_length=20)
    colour = models.CharField(max_length=20)
    status = models.CharField(max_length=20)
    objects = {kind}QuerySet.as_manager()
    offers = {kind}Manager()

    class Meta:
        db_table = "shop_item"
"""

HELPERS = """
STATUS = {status!r}

def imported(queryset):
    return queryset{imported}

def named(queryset):
    return queryset{named}

def by_status(queryset):
    return queryset.filter(status=STATUS)

class Rules:
    @staticmethod
    def apply(queryset):
        return queryset{static}

def wrapped(queryset):
    return queryset{wrapped}
"""

# Nothing but its name, made of two texts, leads here from a decorated function.
HIDDEN = """
def found(queryset):
    return queryset{hidden}
"""

QUERIES = """
import importlib
import functools
from django_querybudget.cache import cached_queryset
from shop import helpers
from shop.helpers import imported, wrapped
from shop.models import *

def logged(function):
    @functools.wraps(function)
    def inside(*args):
        return function(*args)
    return inside

@cached_queryset(timeout=600)
def own(who):
    return Own.objects.all(){own}

@cached_queryset(timeout=600)
def method(who):
    return Method.objects.made()

@cached_queryset(timeout=600)
def manager(who):
    return Manager.offers.offered()

@cached_queryset(timeout=600)
def values(who):
    return Values.objects.made()

@cached_queryset(timeout=600)
def values_list(who):
    return ValuesList.objects.made()

@cached_queryset(timeout=600)
def parameter(who):
    return Parameter.objects.made()

@cached_queryset(timeout=600)
def helper(who):
    return imported(Helper.objects.all())

@cached_queryset(timeout=600)
def helper_of_a_module(who):
    return helpers.named(HelperOfAModule.objects.all())

@cached_queryset(timeout=600)
def constant(who):
    return helpers.by_status(Constant.objects.all())

@cached_queryset(timeout=600)
def static_method(who):
    return helpers.Rules.apply(StaticMethod.objects.all())

@cached_queryset(timeout=600)
@logged
def below_a_decorator(who):
    return wrapped(BelowADecorator.objects.all())

@cached_queryset(timeout=600)
def not_seen(who):
    return getattr(importlib.import_module("shop." + "hidden"), "fou" + "nd")(NotSeen.objects.all())

@cached_queryset(timeout=600)
def unchanged(who):
    return Unchanged.objects.filter(colour="red")
"""

KINDS = {
    "Own": {}, "Helper": {}, "HelperOfAModule": {}, "Constant": {}, "StaticMethod": {},
    "BelowADecorator": {}, "NotSeen": {}, "Unchanged": {}, "Item": {},
    "Method": {"made": ("self.all()", 'self.exclude(status="hidden")')},
    "Manager": {
        "offered": ("self.get_queryset()", 'self.get_queryset().exclude(status="hidden")')
    },
    "Values": {
        "made": (
            'self.order_by("pk").values("name")', 'self.order_by("pk").values("name", "colour")'
        )
    },
    "ValuesList": {
        "made": (
            'self.order_by("pk").values_list("name", "colour")',
            'self.order_by("pk").values_list("colour", "name")',
        )
    },
    "Parameter": {"made": ('self.filter(status="open")', 'self.filter(status="sold")')},
}  # fmt: skip
MENDED = dict.fromkeys(
    ("own", "imported", "named", "static", "wrapped", "hidden"), '.exclude(status="hidden")'
)

PROGRAM = """
import json, sys
import django
django.setup()
from shop import queries
from django_querybudget.cache import cache_stats
for line in sys.stdin:
    name, who = line.split()
    before = cache_stats().hits
    rows = list(getattr(queries, name)(who))
    rows = sorted(getattr(row, "name", row) for row in rows) if rows and not isinstance(
        rows[0], (dict, tuple)) else rows
    print(json.dumps([rows, cache_stats().hits - before]), flush=True)
"""


class Process:
    """A process of the site, with one version of its code."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "shop.settings",
                "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, name: str, who: str = "u") -> tuple[Any, int]:
        """Return the rows that the function gives, and the hits that it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdin.write(f"{name} {who}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self._process.stderr.read()
        rows, hits = json.loads(answer)
        return rows, hits

    def wait(self) -> None:
        """Read until the cache answers: one that nobody has read is not trusted at once."""
        for _ in range(300):
            if self.ask("unchanged", "warm")[1]:
                return
            time.sleep(0.1)
        raise AssertionError("The cache was never trusted.")

    def close(self) -> None:
        self._process.communicate(timeout=30)


def write_project(folder: Path, settings: str, *, mended: bool) -> None:
    texts = MENDED if mended else dict.fromkeys(MENDED, "")
    classes = [
        CLASSES.format(
            kind=kind,
            made=changed.get("made", ("self.all()",) * 2)[mended],
            offered=changed.get("offered", ("self.get_queryset()",) * 2)[mended],
        )
        for kind, changed in KINDS.items()
    ]
    files = {
        "models": "\n".join(["from django.db import models", *classes]),
        "helpers": HELPERS.format(status="sold" if mended else "open", **texts),
        "hidden": HIDDEN.format(**texts),
        "queries": QUERIES.format(**texts),
        "settings": settings,
        "__init__": "",
    }
    package = folder / "shop"
    package.mkdir(parents=True)
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)


@contextmanager
def process(folder: Path) -> Iterator[Process]:
    started = Process(folder)
    try:
        yield started
    finally:
        started.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Path:
    """Two versions of a project, a database with rows and a prefix in Redis."""
    folder = tmp_path_factory.mktemp("site")
    settings = SETTINGS % (str(folder / "db.sqlite3"), redis_url, secrets.token_hex(8))
    for version in ("old", "new"):
        write_project(folder / version, settings, mended=version == "new")
    rows = "INSERT INTO shop_item (name, colour, status) VALUES (%s)"
    program = (
        "import django; django.setup()\n"
        "from django.db import connection\n"
        "from shop.models import Item\n"
        "with connection.schema_editor() as editor: editor.create_model(Item)\n"
        "for row in [('a', 'red', 'open'), ('b', 'blue', 'hidden'), ('c', 'red', 'sold')]:\n"
        f"    connection.cursor().execute({rows.replace('%s', '%s, %s, %s')!r}, row)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": os.pathsep.join([str(folder / "old"), *sys.path]),
        },
        check=True,
    )
    return folder


ABC, AC = ["a", "b", "c"], ["a", "c"]
EXPECTED: dict[str, tuple[Any, Any]] = {
    "own": (ABC, AC),
    "method": (ABC, AC),
    "manager": (ABC, AC),
    "values": (
        [{"name": name} for name in "abc"],
        [{"name": n, "colour": c} for n, c in zip("abc", ("red", "blue", "red"), strict=True)],
    ),
    "values_list": (
        [["a", "red"], ["b", "blue"], ["c", "red"]],
        [["red", "a"], ["blue", "b"], ["red", "c"]],
    ),
    "parameter": (["a"], ["c"]),
    "helper": (ABC, AC),
    "helper_of_a_module": (ABC, AC),
    "constant": (["a"], ["c"]),
    "static_method": (ABC, AC),
    "below_a_decorator": (ABC, AC),
    "not_seen": (ABC, AC),
    "unchanged": (AC, AC),
}


def test_each_version_of_the_code_gets_its_own_answers(site: Path) -> None:
    with process(site / "old") as old, process(site / "new") as new:
        for each in (old, new):
            each.wait()
        for name, (before, after) in EXPECTED.items():
            for turn in range(4):
                for each, expected in ((old, before), (new, after)):
                    rows, hits = each.ask(name)
                    assert rows == expected, (name, turn)
                    # What the names in the code do not lead to has one key: each fills in turn.
                    assert hits or turn < 2 or name == "not_seen", (name, turn)


def test_processes_of_one_version_share_their_entries(site: Path) -> None:
    with process(site / "new") as first, process(site / "new") as second:
        for each in (first, second):
            each.wait()
        for name, (_, after) in EXPECTED.items():
            second.ask(name, "warm")  # the first call of a process shows what it looks like
            for _ in range(3):
                first.ask(name, "shared")
            assert second.ask(name, "shared") == (after, 1), name


# What a version is made of


def function(text: str, **around: Any) -> Any:
    names: dict[str, Any] = {"__name__": "host", **around}
    exec(text, names)  # noqa: S102  # the test's own
    return names["f"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(): return 1", "def f(): return 2"),
        ("def f(): return 1", "def f(): return True"),
        ("def f(): return 1", "def f(): return 1.0"),
        ("def f(x): return x in {1, 2}", "def f(x): return x in {1, 3}"),
        ("def f(): return len", "def f(): return max"),
        ("def f(): return lambda: 1", "def f(): return lambda: 2"),
        ("X = 1\ndef f(): return X", "X = 2\ndef f(): return X"),
        ("X = [1]\ndef f(): return X", "X = [2]\ndef f(): return X"),
        ("def g(): return 1\ndef f(): return g()", "def g(): return 2\ndef f(): return g()"),
        ("def g(x=1): return x\ndef f(): return g()", "def g(x=2): return x\ndef f(): return g()"),
        (
            "class A:\n def m(self): return 1\ndef f(): return A().m()",
            "class A:\n def m(self): return 2\ndef f(): return A().m()",
        ),
        (
            "class A:\n @property\n def m(self): return 1\ndef f(): return A().m",
            "class A:\n @property\n def m(self): return 2\ndef f(): return A().m",
        ),
        (
            "class A:\n def m(self): return 1\nclass B(A): pass\ndef f(): return B().m()",
            "class A:\n def m(self): return 2\nclass B(A): pass\ndef f(): return B().m()",
        ),
        (
            "def f():\n try: return g()\n except KeyError: return 1",
            "def f():\n try: return g()\n except ValueError: return 1",
        ),
    ],
)
def test_a_change_of_the_code_is_another_version(one: str, other: str) -> None:
    assert code_version(function(one)) == code_version(function(one))
    assert code_version(function(one)) != code_version(function(other))


def test_a_variable_that_the_program_changes_is_no_part_of_it() -> None:
    text = "calls = 0\ndef f():\n global calls\n calls += 1\n return calls"
    counted = function(text)
    before = code_version(counted)
    counted()
    assert code_version(counted) == before


def test_functions_that_call_one_another_come_to_an_end() -> None:
    functions = "\n".join(f"def f{number}(): return f{(number + 1) % 50}()" for number in range(50))
    assert code_version(function(f"{functions}\ndef f(): return f0()"))


def test_how_much_is_looked_at_has_a_bound() -> None:
    names: dict[str, Any] = {"__name__": "host"}
    functions = "\n".join(f"def f{number}(): return f{number + 1}()" for number in range(MOST + 50))
    exec(functions, names)  # noqa: S102  # the test's own
    changed = dict(names)
    exec(functions.replace(f"return f{MOST + 40}()", "return 1"), changed)  # noqa: S102 - the test's own
    assert code_version(names["f0"]) == code_version(changed["f0"])


def test_the_code_is_what_was_loaded_not_what_the_file_says(tmp_path: Path) -> None:
    """Files are replaced under a process that goes on."""
    module = tmp_path / "replaced.py"
    module.write_text("def f(): return 1\n")
    names: dict[str, Any] = {"__name__": "replaced", "__file__": str(module)}
    exec(compile(module.read_text(), str(module), "exec"), names)  # noqa: S102 - the test's own
    before = code_version(names["f"])
    module.write_text("def f(): return 2\n")
    assert code_version(names["f"]) == before


def test_code_is_spelled_alike_in_every_process() -> None:
    program = (
        "from tests.cache.test_versions import *\n"
        "code = compile(\"def f(x, *, y=1): return x in {'a', 'b', 'c', ('d', 1)}\", '', 'exec')\n"
        "print(spelled_code(code))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1
    assert isinstance(spelled_code, FunctionType)
