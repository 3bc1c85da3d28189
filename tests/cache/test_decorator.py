"""@cached_queryset over a function: by its arguments, nothing is built on a hit."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import CustomUser
from django_querybudget.cache import cached_queryset
from jobs.models import Industry, Job

pytestmark = pytest.mark.django_db(transaction=True)


def kind(value: Any) -> str:
    """Return a test's id that is the same in every process."""
    return type(value).__name__


CALLS: list[Any] = []


@cached_queryset(timeout=60)
def jobs_of(user: CustomUser, status: str = "open") -> Any:
    """Return a client's jobs."""
    CALLS.append((user, status))
    return Job.objects.filter(client=user, status=status).order_by("pk")


@pytest.fixture
def user() -> CustomUser:
    caches["default"].clear()
    user = CustomUser.objects.create(username="u", email="u@x")
    industry = Industry.objects.create(name="i")
    Job.objects.create(client=user, industry=industry, title="t", budget=1)
    list(jobs_of(user))
    list(jobs_of(user))
    CALLS.clear()
    return user


def test_a_hit_calls_nothing_and_queries_nothing(user: CustomUser) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert [job.title for job in jobs_of(user)] == ["t"]
        assert [job.title for job in jobs_of(user, status="open")] == ["t"]
        assert len(jobs_of(user=user)) == 1
    assert CALLS == []
    assert len(queries) == 0


def test_it_is_a_queryset_that_can_be_refined(user: CustomUser) -> None:
    queryset = jobs_of(user)
    assert [job.title for job in queryset] == ["t"]
    assert queryset.filter(title="none").count() == 0
    assert queryset.values_list("title", flat=True).get() == "t"
    assert jobs_of(user).exists()
    assert jobs_of(user).first().title == "t"


def test_other_arguments_have_another_answer(user: CustomUser) -> None:
    assert list(jobs_of(user, "done")) == []
    assert len(jobs_of(user)) == 1
    other = CustomUser.objects.create(username="o", email="o@x")
    assert list(jobs_of(other)) == []


def test_writes_are_seen(user: CustomUser) -> None:
    Job.objects.update(title="new")
    assert [job.title for job in jobs_of(user)] == ["new"]


def test_invalidate_drops_one_answer(user: CustomUser) -> None:
    list(jobs_of(user, "done"))
    list(jobs_of(user, "done"))
    connection.connection.execute("UPDATE jobs_job SET title = 'unseen'")
    assert [job.title for job in jobs_of(user)] == ["t"]
    jobs_of.invalidate(user)  # type: ignore[attr-defined]
    assert [job.title for job in jobs_of(user)] == ["unseen"]


def test_an_answer_depends_on_the_instances_among_the_arguments(user: CustomUser) -> None:
    @cached_queryset(timeout=60)
    def visible_to(person: CustomUser) -> Any:
        jobs = Job.objects.all()
        return jobs if person.is_staff else jobs.none()

    assert list(visible_to(user)) == []
    assert list(visible_to(user)) == []
    user.is_staff = True
    user.save()
    assert len(visible_to(user)) == 1


def test_what_the_function_reads_while_it_builds_counts(user: CustomUser) -> None:
    @cached_queryset(timeout=60)
    def of_industries() -> Any:
        names = list(Industry.objects.values_list("pk", flat=True))
        return Job.objects.filter(industry__in=names).only("pk")

    for _ in range(3):
        assert len(of_industries()) == 1
    other = Industry.objects.create(name="j")
    Job.objects.create(client=user, industry=other, title="t", budget=1)
    assert len(of_industries()) == 2


@pytest.mark.parametrize(
    "argument", [[1], {"a": 1}, object(), CustomUser(), lambda: None], ids=kind
)
def test_an_argument_that_is_in_no_key_is_named(argument: Any) -> None:
    with pytest.raises(TypeError, match=r"argument 'status' of .*jobs_of"):
        jobs_of(1, status=argument)


def test_it_keeps_the_functions_name_and_documentation() -> None:
    assert jobs_of.__name__ == "jobs_of"
    assert jobs_of.__doc__ == "Return a client's jobs."


def test_functions_that_return_no_fresh_queryset_are_refused(user: CustomUser) -> None:
    def listed() -> Any:
        return list(Job.objects.all())

    with pytest.raises(TypeError, match="must return a QuerySet, not list"):
        cached_queryset(timeout=1)(listed)()

    def evaluated() -> Any:
        queryset = Job.objects.all()
        len(queryset)
        return queryset

    with pytest.raises(ValueError, match="evaluated already"):
        cached_queryset(evaluated)()

    async def coroutine() -> Any:
        return Job.objects.all()

    with pytest.raises(TypeError, match="coroutine"):
        cached_queryset(coroutine)


class Board:
    """A host's class with a cached method."""

    @cached_queryset(timeout=60)
    def jobs(cls, title: str) -> Any:  # noqa: N805  # its first argument is a class here
        return Job.objects.filter(title=title)


def test_a_method(user: CustomUser) -> None:
    with pytest.raises(TypeError, match="argument 'cls'"):
        Board().jobs("t")
    assert len(Board.jobs(Board, "t")) == 1


def industries_named(name: Any) -> Any:
    @cached_queryset(timeout=60)
    def industries() -> Any:
        return Industry.objects.filter(name=name)

    return industries


def test_functions_made_by_one_function_have_answers_of_their_own(user: CustomUser) -> None:
    Industry.objects.create(name="j")
    made = [industries_named("i"), industries_named("j")]
    for _ in range(3):
        assert [[each.name for each in function()] for function in made] == [["i"], ["j"]]


def test_what_a_function_takes_from_around_it_must_have_a_spelling(user: CustomUser) -> None:
    with pytest.raises(TypeError, match="takes from the function around it"):
        industries_named(object())()
    for wrong in (object(), Industry(name="new")):
        with pytest.raises(TypeError, match="takes from the function around it"):
            industries_named(industries_named(wrong))()  # a function with variables of its own


def test_functions_of_one_name_whose_models_differ_never_mix(user: CustomUser) -> None:
    """The key is the same, and so are the bytes that this process has decoded already."""

    def rows() -> Any:
        return MODEL.objects.order_by("pk")  # type: ignore[name-defined]  # noqa: F821

    models = [Industry, CustomUser]
    functions = [
        cached_queryset(timeout=60)(FunctionType(rows.__code__, {"MODEL": model}, "rows"))
        for model in models
    ]
    list(functions[1]())
    for _ in range(3):  # built, filled, decoded
        list(functions[0]())
    assert {type(row) for row in functions[1]()} == {CustomUser}
