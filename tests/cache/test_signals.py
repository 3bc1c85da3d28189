"""Signals, the second witness; and the one that tells the project what was renewed.

Writes go past the hook here, through the driver, and are announced as a host would.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.core import serializers
from django.core.cache import caches
from django.db import connection, connections, models, transaction
from django.db.migrations.state import ProjectState
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_queryset, invalidate, invalidate_all
from django_querybudget.cache.writing import receivers
from django_querybudget.signals import cache_renewed
from jobs.models import Industry, Job, Subcategory
from payment.models import Payment
from tests.cache import world
from tests.cache.hosts.models import Hashed, Negated, Shelf
from tests.cache.relations.models import Book, Named, Place, Restaurant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def rows() -> None:
    caches["default"].clear()
    world.fill("default")
    cache_stats(reset=True)


def past_the_hook(sql: str, *params: Any) -> None:
    connection.ensure_connection()
    connection.connection.execute(sql, params)


def name_of(pk: int = 1) -> str:
    return cached_queryset(Industry.objects.all()).get(pk=pk).name


def names() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.order_by("pk"))]


def rename(pk: int = 1) -> None:
    past_the_hook("UPDATE jobs_industry SET name = 'new' WHERE id = ?", pk)


def industry(pk: int = 1) -> Industry:
    return Industry.objects.get(pk=pk)


def renewed(act: Callable[[], Any]) -> int:
    """Return how many renewals ``act`` causes."""
    cache_stats(reset=True)
    act()
    return cache_stats().invalidations


# By hand


def test_post_save_by_hand_renews_the_row_and_the_table() -> None:
    assert (name_of(1), name_of(2), names()) == ("art", "law", ["art", "law", "void"])
    row = industry()
    rename()
    assert name_of() == "art"
    post_save.send(sender=Industry, instance=row, created=False)
    assert name_of() == "new"
    assert names()[0] == "new"
    with CaptureQueriesContext(connection) as queries:
        assert name_of(2) == "law"
    assert len(queries) == 0


def test_a_new_row_announced_by_hand() -> None:
    assert len(names()) == 3
    past_the_hook("INSERT INTO jobs_industry (id, name) VALUES (9, 'copied')")
    post_save.send(sender=Industry, instance=Industry(pk=9, name="copied"), created=True)
    assert names()[-1] == "copied"


def test_an_instance_without_a_key_is_any_row() -> None:
    assert name_of() == "art"
    rename()
    post_save.send(sender=Industry, instance=Industry(name="new"), created=True, using="default")
    assert name_of() == "new"


def test_scopes_of_a_row_announced_by_hand(settings: Any) -> None:
    def paid(payer: int) -> list[Any]:
        rows = cached_queryset(Payment.objects.filter(payer=payer).order_by("pk"))
        return [payment.amount for payment in rows]

    before = paid(2)
    row = Payment.objects.get(pk=1)
    past_the_hook("UPDATE payment_payment SET amount = 77 WHERE id = 1")
    assert paid(2) == before
    post_save.send(sender=Payment, instance=row, created=False)
    assert 77 in paid(2)


@pytest.mark.parametrize("inside", [False, True], ids=["autocommit", "atomic"])
def test_after_a_write_of_djangos_the_signal_counts_still(inside: bool) -> None:
    """The hook has seen a write to this very row, but not the one that is announced."""
    row = industry()
    if inside:
        with transaction.atomic():
            assert name_of() == "art"
            Industry.objects.filter(pk=1).update(name="seen")
            rename()
            post_save.send(sender=Industry, instance=row, created=False)
        assert name_of() == "new"
        return
    Industry.objects.filter(pk=1).update(name="seen")
    assert name_of() == "seen"
    rename()
    post_save.send(sender=Industry, instance=row, created=False)
    assert name_of() == "new"


def test_in_a_transaction_it_waits_for_the_commit() -> None:
    name_of()
    row = industry()
    with transaction.atomic():
        rename()
        assert renewed(lambda: post_save.send(sender=Industry, instance=row, created=False)) == 0
        assert cache_stats().marks == 1
        assert name_of() == "new"  # the transaction's own read
        with CaptureQueriesContext(connection) as queries:
            post_save.send(sender=Industry, instance=row, created=False)
        assert (len(queries), cache_stats().marks) == (0, 1)
    assert cache_stats().invalidations == 1
    assert name_of() == "new"


def test_a_transaction_that_is_rolled_back_leaves_no_harm() -> None:
    assert name_of() == "art"
    row = industry()
    with transaction.atomic():
        rename()
        post_save.send(sender=Industry, instance=row, created=False)
        transaction.set_rollback(True)
    assert name_of() == "art"


def test_what_is_sent_in_another_thread_is_of_that_threads_connection() -> None:
    name_of()
    row = industry()
    rename()

    def announce() -> None:
        post_save.send(sender=Industry, instance=row, created=False)
        connections.close_all()

    thread = threading.Thread(target=announce)
    thread.start()
    thread.join()
    assert name_of() == "new"


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda row: SimpleLazyObject(lambda: row),
        lambda row: SimpleLazyObject(lambda: SimpleLazyObject(lambda: row)),
    ],
    ids=["lazy", "lazy in lazy"],
)
@pytest.mark.parametrize("by", ["signal", "invalidate"])
def test_lazy_instances_are_their_instances(wrapped: Any, by: str) -> None:
    """``request.user`` is one, and has been used or has not."""

    def username() -> str:
        return cached_queryset(CustomUser.objects.all()).get(pk=1).username

    assert username() == "user1"
    past_the_hook("UPDATE accounts_customuser SET username = 'new' WHERE id = 1")
    lazy = wrapped(CustomUser.objects.get(pk=1))
    if by == "signal":
        post_save.send(sender=CustomUser, instance=lazy, created=False)
    else:
        invalidate(lazy)
    assert username() == "new"


@pytest.mark.parametrize("by", ["signal", "invalidate"])
@pytest.mark.parametrize("model", [Hashed, Negated])
def test_a_key_that_its_field_converts_is_the_databases(model: Any, by: str) -> None:
    """Only the row's own tag is renewed, so that it must be the one that the read depends on."""
    shelf = Shelf.objects.create(name="any")
    for pk in (7, 8):
        model.objects.create(pk=pk, name="old", shelf=shelf)

    def name_of(pk: Any) -> str:
        return cached_queryset(model.objects.all()).get(pk=pk).name

    keys = [each.pk for each in model.objects.order_by("name", "id")]
    assert [name_of(key) for key in keys] == ["old", "old"]
    stored = {Hashed: 7, Negated: -7}[model]
    past_the_hook(f"UPDATE {model._meta.db_table} SET name = 'new' WHERE id = ?", stored)
    [written] = [key for key in keys if model.objects.get(pk=key).name == "new"]
    instance = model.objects.get(pk=written)
    if by == "signal":
        post_save.send(sender=model, instance=instance, created=False)
    else:
        invalidate(instance)
    assert name_of(written) == "new"
    with CaptureQueriesContext(connection) as queries:
        assert [name_of(key) for key in keys if key != written] == ["old"]
    assert len(queries) == 0


def test_a_multi_table_childs_parent_is_renewed() -> None:
    def place() -> str:
        return cached_queryset(Place.objects.all()).get(pk=2).name

    assert place() == "place 2"
    row = Restaurant.objects.get(pk=2)
    past_the_hook("UPDATE relations_place SET name = 'new' WHERE id = 2")
    post_save.send(sender=Restaurant, instance=row, created=False)
    assert place() == "new"


def test_a_proxys_table_is_its_models() -> None:
    class Trade(Industry):
        class Meta:
            proxy = True
            app_label = "signals_proxy"

        def __str__(self) -> str:
            return self.name

    try:
        assert name_of() == "art"
        row = Trade.objects.get(pk=1)
        rename()
        post_save.send(sender=Trade, instance=row, created=False)
        assert name_of() == "new"
        assert renewed(row.save) == 1  # by its statement, not by the signal once more
    finally:
        Industry._meta.apps.all_models.pop("signals_proxy", None)
        Industry._meta.apps.clear_cache()


def test_a_historical_model_is_its_table() -> None:
    historical: Any = ProjectState.from_apps(Industry._meta.apps).apps.get_model("jobs", "Industry")
    assert name_of() == "art"
    row = historical.objects.get(pk=1)
    rename()
    post_save.send(sender=historical, instance=row, created=False)
    assert name_of() == "new"
    row.name = "again"
    row.save()
    assert name_of() == "again"


class Other:
    """A sender that is no model."""


@pytest.mark.parametrize(
    "named",
    [
        {"sender": Other},
        {"sender": Other, "instance": None},
        {"sender": Other, "instance": object()},
        {"sender": Industry},
        {"sender": Industry, "instance": 5, "using": "default"},
    ],
    ids=["no instance", "None", "not a model", "a model alone", "a number"],
)
def test_somebodys_own_use_of_the_signal_is_left_alone(named: dict[str, Any]) -> None:
    assert renewed(lambda: post_save.send(**named)) == 0


def test_a_signal_that_cannot_be_read_breaks_no_host(caplog: pytest.LogCaptureFixture) -> None:
    name_of()
    rename()
    with caplog.at_level(logging.ERROR, "django_querybudget"):
        post_save.send(sender=Industry, instance=industry(), using="no such alias")
    assert "everything is renewed" in caplog.text
    assert name_of() == "new"


# By Django


def save() -> None:
    industry().save()


def save_raw() -> None:
    """As ``loaddata`` does."""
    [row] = serializers.deserialize("json", serializers.serialize("json", [industry()]))
    row.save()


def save_named() -> None:
    Named(name="third", value=3).save(force_insert=True)


def create() -> None:
    Industry.objects.create(name="created")


@pytest.mark.parametrize("write", [save, save_raw, create, save_named])
def test_djangos_own_signal_costs_no_renewal_more(write: Callable[[], None]) -> None:
    with CaptureQueriesContext(connection):
        assert renewed(write) == 1
        assert cache_stats().marks == 1


def test_djangos_own_signal_of_a_multi_table_child() -> None:
    row = Restaurant.objects.get(pk=2)
    assert renewed(row.save) == 1  # one transaction


def test_a_tracing_tools_wrapper_between_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Sentry wraps every receiver of every signal."""
    live = post_save._live_receivers

    def traced(sender: Any) -> Any:
        synchronous, asynchronous = live(sender)

        def wrap(receiver: Any) -> Any:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return receiver(*args, **kwargs)

            return wrapper

        return [wrap(each) for each in synchronous], asynchronous

    monkeypatch.setattr(post_save, "_live_receivers", traced)
    assert renewed(save) == 1


def test_a_signal_by_hand_in_a_receiver_of_djangos_counts() -> None:
    other = industry(2)
    name_of(2)

    def announce(sender: Any, instance: Any, **_: Any) -> None:
        if instance.pk == 1:
            rename(2)
            post_save.send(sender=Industry, instance=other, created=False)

    post_save.connect(announce, sender=Industry)
    try:
        save()
    finally:
        post_save.disconnect(announce, sender=Industry)
    assert name_of(2) == "new"


class PastTheHook(models.Manager[Any]):
    """A manager whose rows are written by something that no hook sees."""

    class Rows(models.QuerySet[Any]):
        def _update(self, values: Any, *returning: Any) -> Any:
            rename()
            return [()] if django.VERSION >= (6, 0) else 1

    def get_queryset(self) -> Any:
        return self.Rows(self.model, using=self._db)


def test_a_model_that_writes_in_its_own_way_is_renewed_by_its_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager = PastTheHook()
    manager.model = Industry
    monkeypatch.setitem(Industry._meta.__dict__, "base_manager", manager)
    receivers._plain.pop(Industry, None)
    try:
        assert name_of() == "art"
        row = Industry(pk=1, name="new")
        row.save(force_update=True)
        assert name_of() == "new"
    finally:
        receivers._plain.pop(Industry, None)


# Those that the settings name


@pytest.fixture
def named(settings: Any) -> None:
    settings.QUERYBUDGET = {
        "CACHE": {"DELETE_SIGNALS": ["jobs.Industry"], "M2M_SIGNALS": ["relations.Book_tags"]}
    }


def gone() -> None:
    past_the_hook("DELETE FROM jobs_subcategory WHERE industry_id = 3")
    past_the_hook("DELETE FROM jobs_industry WHERE id = 3")


def test_post_delete_counts_where_it_is_asked_for(named: None) -> None:
    assert names()[-1] == "void"
    row = industry(3)
    gone()
    post_delete.send(sender=Industry, instance=row)
    assert names()[-1] == "law"


def test_post_delete_is_not_listened_to_elsewhere() -> None:
    assert names()[-1] == "void"
    row = industry(3)
    gone()
    post_delete.send(sender=Industry, instance=row)
    assert names()[-1] == "void"
    for signal in (post_delete, m2m_changed):
        assert not signal.has_listeners(Industry)
        assert not signal.has_listeners(Book.tags.through)


def test_djangos_own_delete_costs_no_renewal_more(named: None) -> None:
    assert not Subcategory.objects.filter(industry=3).exists()
    assert renewed(industry(3).delete) == 1


def tags_of(pk: int) -> list[str]:
    book = cached_queryset(Book.objects.prefetch_related("tags")).get(pk=pk)
    return sorted(tag.word for tag in book.tags.all())


@pytest.mark.parametrize(("action", "counts"), [("post_add", True), ("pre_add", False)])
def test_m2m_changed_counts_where_it_is_asked_for(named: None, action: str, counts: bool) -> None:
    assert tags_of(2) == ["tag 2"]
    book = Book.objects.get(pk=2)
    past_the_hook("INSERT INTO relations_book_tags (book_id, tag_id) VALUES (2, 3)")
    m2m_changed.send(
        sender=Book.tags.through, instance=book, action=action, reverse=False, pk_set={3}
    )
    assert tags_of(2) == (["tag 2", "tag 3"] if counts else ["tag 2"])


def test_djangos_own_m2m_costs_no_renewal_more(named: None) -> None:
    book = Book.objects.get(pk=2)
    assert renewed(lambda: book.tags.add(3)) == 1
    assert tags_of(2) == ["tag 2", "tag 3"]


def test_the_settings_may_change(settings: Any) -> None:
    """As a host's tests do: nothing stays connected."""
    settings.QUERYBUDGET = {"CACHE": {"DELETE_SIGNALS": ["jobs.Industry"]}}
    assert post_delete.has_listeners(Industry)
    settings.QUERYBUDGET = {"CACHE": {}}
    assert not post_delete.has_listeners(Industry)


# Ours


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    calls: list[dict[str, Any]] = []

    def listen(**named: Any) -> None:
        named.pop("signal")
        assert named.pop("sender") is None
        calls.append(named)

    cache_renewed.connect(listen)
    yield calls
    cache_renewed.disconnect(listen)


def row_told(alias: str | None = "default", **named: Any) -> dict[str, Any]:
    return {
        "alias": alias, "tables": frozenset(), "rows": {}, "tags": frozenset(),
        "everything": False, **named,
    }  # fmt: skip


def test_a_statement_is_told_when_it_is_renewed(told: list[dict[str, Any]]) -> None:
    Industry.objects.filter(pk=1).update(name="new")
    assert told == [
        row_told(tables=frozenset({"jobs_industry"}), rows={"jobs_industry": frozenset({"1"})})
    ]


def test_a_transaction_is_told_once(told: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        Industry.objects.filter(pk=1).update(name="new")
        Industry.objects.create(name="another")
        Job.objects.filter(title="none").update(title="many")
        invalidate("a-tag")
        assert told == []
    assert told == [
        row_told(
            tables=frozenset({"jobs_industry", "jobs_job"}),
            rows={"jobs_industry": frozenset({"1"})},
            tags=frozenset({"a-tag"}),
        )
    ]


def test_new_rows_alone_are_no_row_that_was_there(told: list[dict[str, Any]]) -> None:
    Industry.objects.create(name="another")
    assert told == [
        row_told(tables=frozenset({"jobs_industry"}), rows={"jobs_industry": frozenset()})
    ]


def test_invalidate_is_told(told: list[dict[str, Any]]) -> None:
    invalidate("a-tag")
    invalidate(Industry, using="default")
    invalidate_all(using="default")
    assert told == [
        row_told(None, tags=frozenset({"a-tag"})),
        row_told(tables=frozenset({"jobs_industry"})),
        row_told(everything=True),
    ]


def test_a_table_that_no_model_has_is_not_named(told: list[dict[str, Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE own_legacy (n int)")
        try:
            told.clear()
            cursor.execute("UPDATE own_legacy SET n = 1")
            assert told == [row_told()]
        finally:
            cursor.execute("DROP TABLE own_legacy")


def test_it_is_sent_after_the_renewal(told: list[dict[str, Any]]) -> None:
    seen = []

    def read(**_: Any) -> None:
        seen.append(name_of())

    name_of()
    cache_renewed.connect(read)
    try:
        with transaction.atomic():
            Industry.objects.filter(pk=1).update(name="new")
        Industry.objects.filter(pk=1).update(name="newer")
    finally:
        cache_renewed.disconnect(read)
    assert seen == ["new", "newer"]


def test_a_receiver_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(**_: Any) -> None:
        raise ZeroDivisionError("not here")

    cache_renewed.connect(fail)
    try:
        with transaction.atomic():
            Industry.objects.filter(pk=1).update(name="new")
    finally:
        cache_renewed.disconnect(fail)
    assert "not here" in caplog.text
    assert name_of() == "new"
