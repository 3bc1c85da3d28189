"""``python -m django_querybudget try``, in projects that do not have the library."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.ratchet.project import run_python

from .project import PLAIN_SETTINGS, StrangersProject

pytestmark = pytest.mark.once

MANAGE = """
import os, sys
{line}
from {module} import execute_from_command_line
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""
SET_DEFAULT = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")'


@pytest.fixture
def project(tmp_path: Path) -> StrangersProject:
    folder = tmp_path / "project"
    folder.mkdir()
    return StrangersProject(folder)


def queries(data: dict[str, Any]) -> dict[str, int]:
    return {view["name"]: view["queries"] for view in data["views"]}


def lines(data: dict[str, Any]) -> list[tuple[int, str]]:
    return [(each["saves"], each["line"]["code"]) for each in data["loops"]]


BOOKS = (5, 'Book.objects.select_related("author")')
NEEDED = {
    "model": "shop.Book",
    "text": 'shop.Book.Meta.indexes: models.Index(fields=["title"]), for books',
}
SEEN = {"GET books": 6, "GET shelves": 2, "GET signs": 1}


def test_a_new_project_and_its_few_rows(project: StrangersProject) -> None:
    project.start()
    status, text, data = project.try_(
        "--rows=20", f"--html={project.folder.parent / 'page.html'}", "manage.py", "test"
    )
    assert status == 0, text
    assert queries(data) == SEEN
    assert lines(data) == [(21, 'Shelf.objects.select_related("user")'), BOOKS]
    assert data["loops"][0]["rows"] == 20
    assert data["loops"][1]["rows"] is None
    assert data["loops"][1]["loops"][0]["place"] == "shop/views.py:8"
    grown = {each["name"]: each for each in data["grown"]}
    assert "GET books" not in grown  # Five rows show its loop.
    assert (grown["GET shelves"]["before"], grown["GET shelves"]["queries"]) == (2, 22)
    assert grown["GET signs"]["problems"] == {
        "shop.Sign": "room must differ, and nothing varies it"
    }
    assert [each["kind"] for each in data["indexes"]] == ["redundant"]
    assert data["missing_indexes"] == [NEEDED]
    # The page has it, too, and the project's own output is as it always is.
    assert "  1. 21 queries less in GET shelves, with 20 copies of each row\n" in text
    assert "at shop/views.py:8 in books" in text
    assert "redundant: The index book_author_again (author_id) of shop.Book" in text
    assert "GET signs: not measured (shop.Sign: room must differ, and nothing varies it)" in text
    assert "querybudget.W" not in text
    assert "N+1 queries" in text.partition("django-querybudget tried: manage.py test\n")[2]
    assert "N+1 queries" not in text.partition("django-querybudget tried: manage.py test\n")[0]
    html = (project.folder.parent / "page.html").read_text(encoding="utf-8")
    assert "Book.objects.select_related(&quot;author&quot;)" in html


def test_pytest_with_split_settings_and_a_red_suite(project: StrangersProject) -> None:
    project.write("config/__init__.py", "")
    project.write("config/settings/__init__.py", "")
    project.write("config/settings/base.py", PLAIN_SETTINGS)
    project.write(
        "config/settings/test.py",
        "from .base import *\nINSTALLED_APPS += ('django.contrib.sessions',)\n",
    )
    project.write(
        "pyproject.toml",
        '[tool.pytest.ini_options]\nDJANGO_SETTINGS_MODULE = "config.settings.test"\n'
        'pythonpath = ["."]\npython_files = ["tests.py"]\n',
    )
    red = "\ndef test_red(settings):\n    assert settings.SETTINGS_MODULE == 'config.settings.test'"
    project.write(
        "shop/tests.py", (project.folder / "shop/tests.py").read_text() + red + "\n    assert 0\n"
    )
    status, text, data = project.try_("pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
    assert status == 1, text
    assert "1 failed, 3 passed" in text
    assert "It ended with status 1. What its failing tests measured is in here, too." in text
    assert queries(data) == SEEN
    assert lines(data) == [BOOKS]
    assert data["missing_indexes"] == [NEEDED]
    assert "Put --rows 20 before the command" in text
    assert "GET signs: an unknown number of shop.Sign" in text


NINJA_TESTS = """
from django.test import TestCase
from ninja import NinjaAPI
from ninja.testing import TestClient
from .models import Author

api = NinjaAPI()

@api.get("/authors")
def authors(request):
    return [author.name for author in Author.objects.all()]

class NinjaTests(TestCase):
    def test_authors(self):
        Author.objects.create(name="Ann")
        self.assertEqual(TestClient(api).get("/authors").json(), ["Ann"])
"""


def test_a_test_client_that_passes_by_the_handler_is_named(project: StrangersProject) -> None:
    project.start()
    project.write("shop/tests.py", NINJA_TESTS)
    status, text, data = project.try_("manage.py", "test")
    assert (status, queries(data)) == (0, {}), text
    assert "the TestClient of ninja.testing call views past it." in text


@pytest.mark.slow
def test_pytest_in_several_processes(project: StrangersProject) -> None:
    project.write("settings_of_it.py", PLAIN_SETTINGS)
    status, text, data = project.try_(
        "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--ds=settings_of_it",
        "-o", "pythonpath=.", "shop/tests.py",
    )  # fmt: skip
    assert status == 0, text
    assert (queries(data), lines(data)) == (SEEN, [BOOKS])
    assert data["missing_indexes"] is None
    assert "The planner was not asked" in text


def test_unittest_in_several_processes_with_environ(project: StrangersProject) -> None:
    project.write(
        "config.py",
        "import environ\nenv = environ.Env()\n"
        + PLAIN_SETTINGS.replace(
            'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}',
            'DATABASES = {"default": env.db("DATABASE_URL")}',
        ),
    )
    project.write(
        "manage.py",
        MANAGE.format(
            # Set, not only by default; and workers that inherit nothing but the environment.
            line='import multiprocessing\nos.environ["DJANGO_SETTINGS_MODULE"] = "config"\n'
            'if __name__ == "__main__":\n    multiprocessing.set_start_method("spawn")',
            module="django.core.management",
        ),
    )
    status, text, data = project.try_(
        "manage.py", "test", "--parallel", "2", DATABASE_URL="sqlite://:memory:"
    )
    assert status == 0, text
    assert (queries(data), lines(data)) == (SEEN, [BOOKS])


def test_configurations_and_json_alone_on_stdout(project: StrangersProject) -> None:
    body = "".join(f"    {line}\n" for line in PLAIN_SETTINGS.strip().splitlines())
    project.write(
        "config.py",
        f"from configurations import Configuration\n\nclass Base(Configuration):\n{body}\n"
        "class Dev(Base):\n    @property\n    def INSTALLED_APPS(self):\n"
        "        return Base.INSTALLED_APPS + ('django.contrib.sessions',)\n",
    )
    project.write(
        "manage.py",
        MANAGE.format(
            line=f"{SET_DEFAULT.format('config')}\nos.environ['DJANGO_CONFIGURATION'] = 'Dev'",
            module="configurations.management",
        ),
    )
    status, text, data = project.try_("manage.py", "test")
    assert status == 0, text
    assert (queries(data), lines(data)) == (SEEN, [BOOKS])


ASYNC_VIEWS = """
import asyncio
from django.http import JsonResponse
from django.urls import path
from .models import Shelf

TASKS = set()

async def shelves(request):
    # As in a server, it runs in the client's own task, not in one that an adapter began.
    TASKS.add(asyncio.current_task())
    if len(TASKS) != 1:
        return JsonResponse({"tasks": len(TASKS)}, status=500)
    found = [shelf async for shelf in Shelf.objects.all()]
    return JsonResponse({"users": [(await shelf.a_user()).username for shelf in found]})

urlpatterns = [path("shelves/", shelves, name="shelves")]
"""
ASYNC_TESTS = """
import asyncio
from django.contrib.auth.models import User
from django.test import TestCase
from .models import Shelf
from .views import TASKS

class ShelfTests(TestCase):
    def setUp(self):
        Shelf.objects.create(user=User.objects.create(username="reader"), room="attic")

    async def test_shelves(self):
        TASKS.add(asyncio.current_task())
        for _ in range(2):
            answer = await self.async_client.get("/shelves/")
            self.assertEqual(answer.json(), {"users": ["reader"]})
        self.assertEqual(await Shelf.objects.acount(), 1)
        self.assertEqual(await User.objects.acount(), 1)
"""


def test_an_async_view_is_awaited_with_the_copies(project: StrangersProject) -> None:
    # Middleware that is no coroutine would begin a task of its own.
    project.write("settings_of_it.py", PLAIN_SETTINGS)
    line = SET_DEFAULT.format("settings_of_it")
    project.write("manage.py", MANAGE.format(line=line, module="django.core.management"))
    models = (project.folder / "shop/models.py").read_text()
    of_user = (
        "    async def a_user(self):\n        return await User.objects.aget(pk=self.user_id)\n"
    )
    room = "    room = models.CharField(max_length=20)\n"
    project.write("shop/models.py", models.replace(room, f"{room}\n{of_user}"))
    project.write("shop/views.py", ASYNC_VIEWS)
    project.write("shop/tests.py", ASYNC_TESTS)
    status, text, data = project.try_("--rows=20", "manage.py", "test")
    assert status == 0, text
    (grown,) = data["grown"]
    assert (grown["problems"], grown["copied"]) == ({}, ["shop.Shelf"]), grown
    assert grown["queries"] == 22
    (loop,) = data["loops"]
    assert (loop["rows"], loop["loops"][0]["function"]) == (20, "Shelf.a_user")


def test_a_document_alone_is_printed(project: StrangersProject) -> None:
    project.start()
    done = subprocess.run(
        [sys.executable, "-m", "django_querybudget", "try", "--json", "-", "manage.py", "test"],
        cwd=project.folder, capture_output=True, text=True, timeout=120, check=False, env=_clean(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert queries(json.loads(done.stdout)) == SEEN
    # What the command prints, and the page, are for whoever looks on.
    assert "Found 3 test(s)." in done.stderr
    assert "django-querybudget tried: manage.py test\n" in done.stderr


def test_ctrl_c_ends_the_run_and_what_was_seen_is_told(
    project: StrangersProject, tmp_path: Path
) -> None:
    project.write("settings_of_it.py", PLAIN_SETTINGS)
    reached, left = tmp_path / "reached", tmp_path / "left"
    left.mkdir()
    tests = (project.folder / "shop/tests.py").read_text()
    waits = f"\n    def test_waits(self):\n        open({str(reached)!r}, 'w').close()\n"
    # Behind the others: in their order, by name.
    project.write("shop/tests.py", f"import time\n{tests}{waits}        time.sleep(300)\n")
    before = project.files()
    tried = subprocess.Popen(
        [
            sys.executable, "-m", "django_querybudget", "try",
            "pytest", "-q", "-p", "no:cacheprovider", "--ds=settings_of_it", "-o", "pythonpath=.",
            "shop/tests.py",
        ],
        cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env={**_clean(), "TMPDIR": str(left)},
    )  # fmt: skip
    try:
        while not reached.exists():
            assert tried.poll() is None, tried.communicate()
            time.sleep(0.02)
    finally:
        # A terminal sends it to all that runs in it.
        os.killpg(tried.pid, signal.SIGINT)
        text, _ = tried.communicate(timeout=60)
    assert tried.returncode == 2, text
    assert "KeyboardInterrupt" in text
    page = text.partition("django-querybudget tried: pytest ")[2]
    assert "Book.objects.select_related" in page
    assert "It ended with status 2." in page
    assert list(left.iterdir()) == []
    assert project.files() == before


def test_settings_that_fail_are_the_projects_own_error(project: StrangersProject) -> None:
    project.write("config.py", "raise RuntimeError('no secret in the environment')\n")
    line = SET_DEFAULT.format("config")
    project.write("manage.py", MANAGE.format(line=line, module="django.core.management"))
    status, text, data = project.try_("manage.py", "test")
    alone = run_python(project.folder, "manage.py", "test")
    assert status == alone[0] == 1
    assert text.startswith(alone[1])
    assert "RuntimeError: no secret in the environment" in alone[1]
    assert "No process of it set Django up, so nothing was measured." in text
    assert data["views"] == []


@pytest.mark.slow
def test_a_server_tells_of_each_request_and_prints_its_page_at_ctrl_c(
    project: StrangersProject,
) -> None:
    project.start()
    settings = project.folder / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + "\nMIGRATION_MODULES = {}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--run-syncdb", "-v0"],
        cwd=project.folder, check=True, timeout=60, env=_clean(),
    )  # fmt: skip
    server = subprocess.Popen(
        [
            sys.executable, "-m", "django_querybudget", "try",
            "manage.py", "runserver", f"127.0.0.1:{port}",
        ],
        cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env=_clean(),
    )  # fmt: skip
    try:
        for _ in range(200):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                try:
                    connection.request("GET", "/signs/")
                except OSError:
                    time.sleep(0.1)
                else:
                    assert connection.getresponse().read() == b'{"rooms": []}'
                    break
    finally:
        os.killpg(server.pid, signal.SIGINT)
        text, _ = server.communicate(timeout=30)
    assert server.returncode == 0, text
    assert "querybudget: GET signs: 1 query, " in text
    assert "1 view measured" in text.partition("django-querybudget tried: manage.py runserver")[2]


def _clean() -> dict[str, str]:
    ours = ("DJANGO_", "PYTEST_", "QUERYBUDGET_")
    return {name: text for name, text in os.environ.items() if not name.startswith(ours)}
