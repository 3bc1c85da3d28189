"""Suites that draw their data: each rehearsal draws the same, or what differs is said."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from django_querybudget.patches.fixing import Wanted, fix
from django_querybudget.patches.rehearsals import Suite

pytestmark = pytest.mark.once

# What suites draw from: an expression of a number below 60, and what it needs.
SOURCES = {
    "random": ("random.randrange(60)", "import random"),
    "numpy": ("int(numpy.random.randint(60))", "import numpy"),
    "faker": ("Faker().pyint(0, 59)", "from faker import Faker"),
}
INSTALLED = [name for name in SOURCES if importlib.util.find_spec(name)]

_CLASS = """\
{needs}

from django.test import TestCase

from shop.models import Author, Book


def rows(least):
    for number in range(least + {drawn}):
        author = Author.objects.create(name=f"author {{number}}")
        Book.objects.create(title=f"book {{number}}", author=author)


class First(TestCase):
    def test_first(self):
        self.assertLess({drawn}, 60)


class Drawn(TestCase):
    @classmethod
    def setUpTestData(cls):
        rows(4)

    def test_once(self):
        self.client.get("/read")

    def test_twice(self):
        rows(1)
        for _ in range(1 + {drawn}):
            self.client.get("/read")
"""
_FIXTURES = """\
import random

import pytest

from shop.models import Author, Book


@pytest.fixture(scope="session")
def most():
    return random.randrange(60)


@pytest.fixture
def rows(db, most):
    for number in range(4 + most + random.randrange(60)):
        author = Author.objects.create(name=f"author {number}")
        Book.objects.create(title=f"book {number}", author=author)


def test_first():
    assert random.randrange(60) < 60


def test_drawn(client, rows):
    client.get("/read")
"""


def _fixed(suite: Suite) -> str:
    told: list[str] = []
    assert fix(suite, Wanted(), out=told.append, err=told.append) == 0, told
    return "\n".join(told)


def _test() -> Suite:
    return Suite("test", (), (str(Path("manage.py").resolve()),))


@pytest.mark.parametrize("source", INSTALLED)
def test_what_a_suite_draws_is_the_same_in_every_rehearsal(project: Path, source: str) -> None:
    drawn, needs = SOURCES[source]
    (project / "shop/tests.py").write_text(_CLASS.format(drawn=drawn, needs=needs))
    told = _fixed(_test())
    assert told.count("Proved: shop/views.py") == 1
    assert "Withdrawn" not in told
    assert "Not the same from run to run" not in told


@pytest.mark.slow  # it runs a suite several times
def test_processes_of_a_parallel_run_draw_the_same(project: Path) -> None:
    drawn, needs = SOURCES["random"]
    text = _CLASS.format(drawn=drawn, needs=needs)
    (project / "shop/tests.py").write_text(
        text + text[text.index("class Drawn") :].replace("Drawn", "Other")
    )
    told = _fixed(Suite("test", ("--parallel", "2"), _test().program))
    assert told.count("Proved: shop/views.py") == 1
    assert "Withdrawn" not in told


@pytest.mark.slow  # it runs a suite several times
def test_pytest_draws_the_same_in_every_rehearsal(project: Path) -> None:
    (project / "shop/tests.py").write_text(_FIXTURES)
    told = _fixed(Suite("pytest", ("-p", "no:cacheprovider", "shop/tests.py")))
    assert told.count("Proved: shop/views.py") == 1
    assert "Withdrawn" not in told


def test_outside_of_a_rehearsal_nothing_is_settled(project: Path) -> None:
    """Two runs of the suite by itself, with the library installed, draw what they draw."""
    import subprocess

    (project / "shop/tests.py").write_text(
        "import random\nfrom django.test import TestCase\n\n"
        "class Tests(TestCase):\n    def test(self):\n        print('drawn', random.random())\n"
    )
    drawn = {
        subprocess.run(
            [sys.executable, "manage.py", "test"], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    }
    assert len(drawn) == 2


_CLOCK = """
from pathlib import Path
from shop import views

def read(request):
    clock = Path(__import__("os").environ["CLOCK"])
    runs = int(clock.read_text())
    clock.write_text(str(runs + 1))
    response = views.read(request)
    response.content += b" %d minutes later" % max(runs - 1, 0)
    return response
"""


@pytest.mark.slow  # it runs a suite several times
def test_what_the_clock_changes_later_is_no_difference(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two runs are of one minute; the one with the patch is not."""
    clock = project.parent / "clock"
    clock.write_text("0")
    monkeypatch.setenv("CLOCK", str(clock))
    (project / "shop/clock.py").write_text(_CLOCK)
    urls = project / "shop/urls.py"
    text = urls.read_text().replace("import odd, views", "import clock, odd, views")
    urls.write_text(text.replace("views.read", "clock.read"))
    drawn = _CLASS.format(drawn="1", needs="")
    (project / "shop/tests.py").write_text(drawn.replace("test_twice", "twice"))
    told = _fixed(_test())
    assert told.count("Proved: shop/views.py") == 1
    assert "Running them without the patches once more" in told


_RUNS = """
import os
from pathlib import Path

RUNS = Path(os.environ["RUNS"])
RUNS.write_text(str(int(RUNS.read_text()) + 1))
"""


def test_what_differs_by_itself_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has rows and requests of its own: what is not seeded, without its coincidences."""
    runs = project.parent / "runs"
    runs.write_text("0")
    monkeypatch.setenv("RUNS", str(runs))
    drawn, needs = "7 * int(RUNS.read_text()) % 60", _RUNS
    (project / "shop/tests.py").write_text(_CLASS.format(drawn=drawn, needs=needs))
    told = _fixed(_test())
    assert "Proved: " not in told
    assert "Not the same from run to run: without a patch, GET read executes " in told
    assert "queries in shop.tests.Drawn.test_once, and " in told
    assert (
        "without a patch, shop.tests.Drawn.test_twice asks for other things: its request " in told
    )
    assert "because no request in which it is to save queries could be measured again: " in told
