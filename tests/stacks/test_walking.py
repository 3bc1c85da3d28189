"""The line of the project's code: sync, async, template, serializer; never another's line."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import FrameType
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.core.paginator import Paginator
from django.db import connections
from django.template import engines
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers

from django_querybudget import capture_queries
from django_querybudget.recording.records import QueryLog
from django_querybudget.stacks import Origin, files, locate, tasks
from jobs.models import Industry, Subcategory

pytestmark = pytest.mark.django_db

HERE = str(Path(__file__))


def line_above() -> int:
    """The number of the line above the one this is called on."""
    frame = inspect.currentframe()
    assert isinstance(frame, FrameType)
    assert isinstance(frame.f_back, FrameType)
    return frame.f_back.f_lineno - 1


def only_origin(log: QueryLog) -> Origin:
    [query] = log.queries
    assert query.origin is not None
    return query.origin


def test_the_nearest_line_of_the_project_is_the_origin() -> None:
    with capture_queries() as log:
        Industry.objects.count()
        line = line_above()
    origin = only_origin(log)
    assert (origin.filename, origin.line) == (HERE, line)
    assert origin.function == "test_the_nearest_line_of_the_project_is_the_origin"


def test_a_statement_over_several_lines_and_in_a_nested_function() -> None:
    def inner() -> None:
        list(
            Industry.objects.filter(
                name="x",
            )
        )

    with capture_queries() as log:
        inner()
    origin = only_origin(log)
    first = inner.__code__.co_firstlineno
    assert first < origin.line <= first + 5
    assert origin.function.endswith("nested_function.<locals>.inner")


def test_frames_of_the_standard_library_are_not_the_caller() -> None:
    from functools import cached_property, reduce

    class Page:
        @cached_property
        def total(self) -> int:
            return reduce(lambda total, _: total + Industry.objects.count(), [1], 0)

    with capture_queries() as log:
        Page().total  # noqa: B018 - asking is what queries
    origin = only_origin(log)
    assert (origin.filename, origin.function.rsplit(".", 1)[-1]) == (HERE, "<lambda>")


def test_djangos_own_frames_are_not_the_caller() -> None:
    with capture_queries() as log:
        Paginator(Industry.objects.all(), 10).num_pages  # noqa: B018 - asking is what queries
        line = line_above()
    assert (only_origin(log).filename, only_origin(log).line) == (HERE, line)


def test_a_third_party_frame_stands_in_only_where_no_project_frame_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = "/srv/venv/lib/python3.13/site-packages/shop/models.py"
    names: dict[str, Any] = {"locate": locate, "inspect": inspect}
    code = "def lookup():\n    return locate(inspect.currentframe())[0]\n"
    exec(compile(code, library, "exec"), names)  # noqa: S102 - the test's own
    raw = names["lookup"]()
    assert Origin.of(raw).filename == HERE  # type: ignore[union-attr]
    # A worker's thread that is all libraries: the nearest one that is not Django's.
    monkeypatch.setitem(files.kinds, HERE, files.INTERNAL)
    frames = [frame.filename for frame in inspect.stack(0)]
    for filename in set(frames) - {library, HERE}:
        monkeypatch.setitem(files.kinds, filename, files.INTERNAL)
    origin = Origin.of(names["lookup"]())
    assert origin is not None
    assert (origin.filename, origin.line) == (library, 2)


def test_no_frame_to_blame_is_none() -> None:
    assert Origin.of(locate(None)[0]) is None


def test_an_origin_reads_as_a_place() -> None:
    here = Path.cwd() / "shop" / "views.py"
    origin = Origin(filename=str(here), line=12, function="listing")
    assert str(origin) == "shop/views.py:12 in listing"
    elsewhere = Origin(filename="/elsewhere/views.py", line=1, function="f", template="a.html:3")
    assert str(elsewhere) == "a.html:3 (/elsewhere/views.py:1 in f)"


def test_a_text_that_comes_another_way_is_another_line() -> None:
    # The walk is replaced by a jump to where the text came from last time, if that still is so.
    industry = Industry.objects.create(name="Garden")
    subcategories = [Subcategory(industry_id=industry.pk, name=str(each)) for each in range(3)]

    def lazily() -> int:
        subcategories.pop().industry  # noqa: B018 - asking is what queries
        return line_above()

    def directly() -> int:
        Industry.objects.get(pk=industry.pk)
        return line_above()

    def through(other: Callable[[], int], depth: int) -> int:
        return through(other, depth - 1) if depth else other()

    with capture_queries() as log:
        lines = [lazily(), directly(), lazily(), through(directly, 3), lazily(), directly()]
    assert len({query.sql for query in log}) == 1
    assert [query.origin.line for query in log if query.origin] == lines


# Templates.


@pytest.mark.parametrize("debug", [True, False])
def test_a_templates_line_through_extends_and_include(debug: bool) -> None:
    templates = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": settings.TEMPLATES[0]["DIRS"],
        "OPTIONS": {"debug": debug},
    }
    industry = Industry.objects.create(name="farming")
    Subcategory.objects.create(industry=industry, name="milk")
    with override_settings(TEMPLATES=[templates]):
        template = engines["django"].get_template("industries.html")
        with capture_queries() as log:
            template.render({"industries": Industry.objects.all()})
            line = line_above()
    assert [query.origin.template for query in log if query.origin] == [
        "industries.html:3",
        "subcategories.html:3",
    ]
    assert {query.origin.line for query in log if query.origin} == {line}


# Serializers.


class SubcategorySerializer(serializers.ModelSerializer[Subcategory]):
    industry = serializers.StringRelatedField()  # type: ignore[var-annotated]

    class Meta:
        model = Subcategory
        fields = ("name", "industry")


def test_a_serializers_field_is_named() -> None:
    industry = Industry.objects.create(name="farming")
    Subcategory.objects.create(industry=industry, name="milk")
    subcategories = list(Subcategory.objects.all())
    with capture_queries() as log:
        SubcategorySerializer(subcategories, many=True).data  # noqa: B018 - asking is what queries
        line = line_above()
    origin = only_origin(log)
    assert origin.serializer_field == "SubcategorySerializer.industry"
    assert (origin.filename, origin.line) == (HERE, line)


# Async code: the coroutine's frames are on no stack of the thread that queries.


async def _closing(work: Any) -> Any:
    try:
        return await work
    finally:
        await sync_to_async(connections.close_all)()


async def count_async() -> int:
    await asyncio.sleep(0)
    return await Industry.objects.acount()


COUNT_ASYNC_LINE = inspect.getsourcelines(count_async)[1] + 2


def run(work: Callable[[], Any]) -> QueryLog:
    async def captured() -> QueryLog:
        with capture_queries() as log:
            await work()
        return log

    return asyncio.run(_closing(captured()))


@pytest.mark.django_db(transaction=True)
def test_a_coroutines_line_is_found_from_its_task() -> None:
    origin = only_origin(run(count_async))
    assert (origin.filename, origin.line, origin.function) == (
        HERE,
        COUNT_ASYNC_LINE,
        "count_async",
    )


async def first_of_gather() -> None:
    await count_async()


async def second_of_gather() -> None:
    await Industry.objects.filter(name="second").aexists()


@pytest.mark.django_db(transaction=True)
def test_the_children_of_gather_are_told_apart() -> None:
    async def work() -> None:
        await asyncio.gather(first_of_gather(), second_of_gather(), first_of_gather())

    functions = sorted(query.origin.function for query in run(work) if query.origin)
    assert functions == ["count_async", "count_async", "second_of_gather"]


class Hasty(ThreadPoolExecutor):
    """Ends the work before the coroutine that handed it over comes to wait for it."""

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        future = super().submit(*args, **kwargs)
        wait([future])
        return future


@pytest.mark.django_db(transaction=True)
async def _bare_gather() -> None:
    await asyncio.gather(Industry.objects.acount(), Industry.objects.acount())


async def _own_line() -> int:
    return await Industry.objects.acount()


async def _gather_of_own_lines() -> None:
    await asyncio.gather(_own_line(), _own_line())


def test_a_task_without_a_line_of_its_own_lends_none_to_the_next() -> None:
    """Its text comes from the runner of the loop, it seems; another task's does not."""
    with capture_queries():
        async_to_sync(_bare_gather)()
    with capture_queries() as log:
        async_to_sync(_gather_of_own_lines)()
    assert [query.origin.function for query in log if query.origin] == ["_own_line", "_own_line"]


def test_a_coroutine_that_has_not_come_to_wait_yet_is_found_on_its_loops_stack() -> None:
    async def hands_over(hasty: Hasty) -> None:
        await sync_to_async(Industry.objects.count, thread_sensitive=False, executor=hasty)()
        await sync_to_async(connections.close_all, thread_sensitive=False, executor=hasty)()

    async def work() -> None:
        with Hasty(1) as hasty:
            await asyncio.gather(hands_over(hasty))

    functions = [query.origin.function for query in run(work) if query.origin]
    assert [function.rpartition(".")[2] for function in functions] == ["hands_over"]


@pytest.mark.django_db(transaction=True)
def test_with_too_many_tasks_to_search_the_opening_task_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "MOST_TASKS_SEARCHED", 1)

    async def work() -> None:
        await asyncio.gather(first_of_gather(), second_of_gather())

    assert {query.origin.filename for query in run(work) if query.origin} == {HERE}
    assert not {"count_async"} & {query.origin.function for query in run(work) if query.origin}


@pytest.mark.django_db(transaction=True)
def test_async_for_and_an_async_generators_own_line() -> None:
    async def names() -> AsyncIterator[str]:
        async for industry in Industry.objects.filter(name__gt=""):
            yield industry.name

    async def work() -> None:
        [_ async for _ in names()]

    origin = only_origin(run(work))
    assert origin.function.endswith("names")


@pytest.mark.django_db(transaction=True)
def test_sync_code_on_a_worker_thread_has_its_own_line() -> None:
    def in_thread() -> int:
        return Industry.objects.count()

    async def work() -> None:
        await sync_to_async(in_thread)()

    assert only_origin(run(work)).function.endswith("in_thread")


def test_async_to_sync_and_back_finds_the_coroutine() -> None:
    with capture_queries() as log:
        async_to_sync(count_async)()
    assert only_origin(log).function == "count_async"


def test_an_origin_reads_as_a_place_without_a_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "released"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert str(Origin(filename="/srv/a.py", line=3, function="f")) == "/srv/a.py:3 in f"


PROJECT_FILE = "/srv/shop/views.py"
LIBRARY_FILE = "/srv/venv/lib/python3.13/site-packages/shop/views.py"
DJANGO_FILE = str(Path(django.__file__).parent / "db" / "models" / "made_up.py")


def nested(files: list[str]) -> Any:
    """Return a function that calls itself a frame inwards for each of ``files``, then locates."""
    names: dict[str, Any] = {"inner": lambda: locate(sys._getframe(1))}
    for filename in reversed(files):
        exec(compile("def call(inner=inner):\n    return inner()\n", filename, "exec"), names)  # noqa: S102 - the test's own
        names["inner"] = names["call"]
    return names["inner"]


@given(st.lists(st.lists(st.sampled_from([PROJECT_FILE, LIBRARY_FILE, DJANGO_FILE])), min_size=2))
def test_what_is_blamed_does_not_depend_on_what_ran_before(stacks: list[list[str]]) -> None:
    calls = [nested(each) for each in stacks]
    for own, call in [*zip(stacks, calls, strict=True), *zip(stacks, calls, strict=True)]:
        origin, frame = call()
        expected = PROJECT_FILE if PROJECT_FILE in own else HERE  # This test's own line.
        assert origin.code is not None
        assert (origin.code.co_filename, frame.f_code) == (expected, origin.code)
        if PROJECT_FILE in own:
            innermost = len(own) - 1 - own[::-1].index(PROJECT_FILE)
            inside = 0
            while frame.f_back.f_code.co_filename in (PROJECT_FILE, LIBRARY_FILE, DJANGO_FILE):
                frame, inside = frame.f_back, inside + 1
            assert inside == innermost
