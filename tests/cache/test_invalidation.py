"""invalidate(), and what a host that caches must not notice."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, connections, transaction
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_init,
    pre_delete,
    pre_init,
    pre_save,
)
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from accounts.models import CustomUser
from django_querybudget.cache import (
    cache_stats,
    cached_queryset,
    grouped_invalidation,
    invalidate,
    invalidate_all,
)
from jobs.models import Industry, Job


def kind(value: Any) -> str:
    """Return a test's id that is the same in every process."""
    return type(value).__name__


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def row() -> Industry:
    caches["default"].clear()
    industry = Industry.objects.create(name="old")
    cache_stats(reset=True)
    return industry


def names() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.all(), tags=["mine"])]


def write_unseen(name: str) -> None:
    connection.connection.execute("UPDATE jobs_industry SET name = ?", [name])


def test_everything() -> None:
    names()
    write_unseen("new")
    assert names() == ["old"]
    invalidate_all()
    assert names() == ["new"]


def test_another_databases_invalidation_is_another(row: Industry) -> None:
    names()
    write_unseen("new")
    invalidate(Industry, using="other")
    invalidate_all(using="other")
    assert names() == ["old"]
    invalidate(row, using="default")
    assert names() == ["new"]


def test_many_are_sent_as_one() -> None:
    with grouped_invalidation():
        invalidate(Industry, using="default")
        invalidate(Job, CustomUser, using="default")
        invalidate("a-tag", using="default")
        assert cache_stats().invalidations == 0
    assert cache_stats().invalidations == 1


@pytest.mark.parametrize(
    "name", ["jobs.Industry", "jobs.industry", "jobs_industry", "JOBS_INDUSTRY"]
)
def test_a_models_label_or_table_is_the_model(name: str) -> None:
    names()
    write_unseen("new")
    invalidate("jobs.Job")
    assert names() == ["old"]
    invalidate(name)
    assert names() == ["new"]


@pytest.mark.parametrize("what", ["instance", "model", "tag", "label"])
def test_a_lazy_object_is_what_it_stands_for(row: Industry, what: str) -> None:
    stands_for: dict[str, Any] = {
        "instance": row, "model": Industry, "tag": "mine", "label": "jobs.Industry"
    }  # fmt: skip
    names()
    write_unseen("new")
    assert names() == ["old"]
    if what == "tag":
        invalidate(gettext_lazy("mine"))
    else:
        invalidate(SimpleLazyObject(lambda: stands_for[what]))
    assert names() == ["new"]


def test_a_tag_may_hold_a_point() -> None:
    tagged = cached_queryset(Industry.objects.all(), tags=["no.Model"])
    assert [each.name for each in tagged] == ["old"]
    write_unseen("new")
    assert [each.name for each in tagged.all()] == ["old"]
    invalidate("no.Model")
    assert [each.name for each in tagged.all()] == ["new"]


def test_a_group_within_a_group_is_part_of_it() -> None:
    names()
    with grouped_invalidation():
        with grouped_invalidation():
            invalidate(Industry, using="default")
        write_unseen("new")
        assert cache_stats().invalidations == 0
        assert names() == ["old"]
    assert cache_stats().invalidations == 1
    assert names() == ["new"]


def test_a_group_that_raises_has_invalidated_what_came_before() -> None:
    names()
    write_unseen("new")

    @grouped_invalidation()
    def invalidate_and_raise() -> None:
        invalidate(Industry, using="default")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        invalidate_and_raise()
    assert names() == ["new"]


@pytest.mark.parametrize("keep", [True, False], ids=["committed", "rolled back"])
def test_a_group_inside_atomic_waits_for_its_end(keep: bool) -> None:
    names()
    with transaction.atomic():
        with grouped_invalidation():
            invalidate(Industry, Job, using="default")
        assert cache_stats().invalidations == 0
        transaction.set_rollback(not keep)
    write_unseen("new")
    assert names() == ["new"]
    assert cache_stats().invalidations == 1


def test_inside_atomic_it_waits_for_the_commit() -> None:
    names()
    with transaction.atomic():
        invalidate(Industry)
        assert cache_stats().bypasses == {}
        assert names() == ["old"]
        assert cache_stats().bypasses == {"the transaction has written": 1}
    write_unseen("new")
    assert names() == ["new"]


@cached_queryset(timeout=60)
def every_industry() -> Any:
    return Industry.objects.all()


def invalidate_function() -> None:
    every_industry.invalidate()


@pytest.mark.parametrize("keep", [True, False], ids=["committed", "rolled back"])
@pytest.mark.parametrize(
    "announce",
    [
        lambda: invalidate("mine"),
        invalidate_function,
        lambda: invalidate("mine", using="default"),
        lambda: invalidate_all(using="default"),
    ],
    ids=["tag", "function", "tag of an alias", "all"],
)
def test_a_tag_waits_for_the_commit_too(announce: Any, keep: bool) -> None:
    """COPY, invalidate, another's read, COMMIT."""

    def read() -> list[list[str]]:
        return [names(), [each.name for each in every_industry()]]

    def read_beside() -> list[list[str]]:
        with ThreadPoolExecutor(1) as pool:
            try:
                return pool.submit(read).result()
            finally:
                pool.submit(connections.close_all).result()

    assert read() == [["old"]] * 2
    with transaction.atomic():
        Job.objects.filter(title="none").update(title="many")  # SQLite's lock is had from here
        write_unseen("new")
        announce()
        assert cache_stats().invalidations == 0
        assert read() == [["new"]] * 2
        assert read_beside() == [["old"]] * 2
        transaction.set_rollback(not keep)
    function, tagged = announce is invalidate_function, announce is not invalidate_function
    expected = "new" if keep else "old"
    assert not tagged or names() == [expected]
    assert not function or [each.name for each in every_industry()] == [expected]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_tag_waits_for_each_transaction_that_is_open() -> None:
    """A tag is of no database: whatever is open may be what it is announced for."""
    with transaction.atomic(using="other"):
        with transaction.atomic():
            invalidate("mine")
            assert cache_stats().invalidations == 0
        assert cache_stats().invalidations == 1
        names()
        assert cache_stats().stores == 0  # the other one's mark stands
    assert cache_stats().invalidations == 2


def test_a_tag_outside_of_transactions_is_renewed_at_once_and_once() -> None:
    names()
    invalidate("mine")
    assert cache_stats().invalidations == 1


def test_a_group_that_a_transaction_ends_in_leaves_it_to_the_commit() -> None:
    names()
    with grouped_invalidation():
        with transaction.atomic():
            write_unseen("new")
            invalidate(Industry, "mine", using="default")
        assert names() == ["new"]


@pytest.mark.parametrize("what", [[], [1], [None], [object()], [Industry.objects]], ids=kind)
def test_anything_else_is_refused(what: list[Any]) -> None:
    with pytest.raises(TypeError, match="invalidate"):
        invalidate(*what)


def test_a_read_inside_of_a_read_is_part_of_it(row: Industry) -> None:
    @cached_queryset(timeout=60)
    def jobs_of_named() -> Any:
        [name] = [each.name for each in cached_queryset(Industry.objects.all())]
        return Job.objects.filter(industry__name=name).only("pk")

    user = CustomUser.objects.create(username="u")
    Job.objects.create(client=user, industry=row, title="t", budget=1)
    assert [len(jobs_of_named()) for _ in range(3)] == [1, 1, 1]
    Industry.objects.update(name="renamed")
    assert len(jobs_of_named()) == 1
    Job.objects.all().delete()
    assert len(jobs_of_named()) == 0


def test_no_signal_is_listened_to_that_changes_what_django_sends() -> None:
    for signal in (pre_init, post_init, pre_save, pre_delete, post_delete, m2m_changed):
        assert not signal.has_listeners(Industry)
    with CaptureQueriesContext(connection) as queries:
        Industry.objects.filter(jobs__isnull=True)._raw_delete("default")
    assert len(queries) == 1


def test_a_process_that_only_writes_watches_because_of_the_settings() -> None:
    program = (
        "import django; django.setup()\n"
        "import sys\n"
        "from django_querybudget.recording import hook\n"
        "print('django_querybudget.cache' in sys.modules, len(hook._watchers))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True,
        env={"DJANGO_SETTINGS_MODULE": "marketplace.settings", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "True 1\n"


class Unreadable(int):
    """A number of the host's own that the driver can send and nobody can spell."""

    def __int__(self) -> int:
        raise RuntimeError("not for you")


def test_a_write_that_cannot_be_read_renews_everything(
    row: Industry, caplog: pytest.LogCaptureFixture
) -> None:
    assert names() == names()
    with connection.cursor() as cursor:
        cursor.execute(
            'UPDATE "jobs_industry" SET "name" = %s WHERE "jobs_industry"."id" = %s',
            ["renamed", Unreadable(row.pk)],
        )
    assert names() == ["renamed"]
    [record] = caplog.records
    assert "not for you" in str(record.exc_info)
