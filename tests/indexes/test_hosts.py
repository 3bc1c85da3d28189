"""Host models as they really are, each in a registry of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import AbstractBaseUser, AbstractUser, PermissionsMixin
from django.db import models
from django.db.migrations.operations import AddIndex, CreateModel, RemoveIndex
from django.db.migrations.state import ProjectState
from django.test.utils import isolate_apps, override_settings

from django_querybudget.indexes import (
    IndexMixin,
    OTPIndexMixin,
    PaymentIndexMixin,
    ProfileIndexMixin,
    ReviewIndexMixin,
    UserIndexMixin,
)
from django_querybudget.indexes.models.resolve import resolution_of
from tests.indexes.conftest import Changes, state_of

EMAIL, USERNAME, ACTIVE, ROLE = (
    "accounts_cu_email_5ce40b_idx",
    "accounts_cu_usernam_ab560e_idx",
    "accounts_cu_is_acti_2885e2_idx",
    "accounts_cu_role_666d59_idx",
)
USER_NAMES = [EMAIL, USERNAME, ACTIVE, ROLE]
PAYMENT_COLUMNS = [
    ["status"],
    ["payer_id"],
    ["recipient_id"],
    ["job_id"],
    ["created_at"],
    ["status", "created_at"],
]


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    """Models of a test are in no other test's registry."""
    with isolate_apps("accounts", "payment", "django.contrib.contenttypes", "django.contrib.auth"):
        yield


def names(model: type[models.Model]) -> list[str]:
    return [index.name for index in model._meta.indexes]


def fields(model: type[models.Model]) -> list[list[str]]:
    return [index.fields for index in model._meta.indexes]


class PaymentFields(models.Model):
    """A payment's columns; relations as plain integers, which name their columns alike."""

    status = models.CharField(max_length=20)
    payer_id = models.BigIntegerField()
    recipient_id = models.BigIntegerField()
    job_id = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        abstract = True
        app_label = "payment"


class TestBases:
    def test_mixin_first(self) -> None:
        class CustomUser(UserIndexMixin, AbstractUser):
            role = models.CharField(max_length=20)

            class Meta:
                app_label = "accounts"

        assert names(CustomUser) == USER_NAMES

    def test_mixin_last(self) -> None:
        class CustomUser(AbstractUser, UserIndexMixin):
            role = models.CharField(max_length=20)

            class Meta:
                app_label = "accounts"

        assert names(CustomUser) == USER_NAMES

    def test_mixin_before_abstract_base_user(self) -> None:
        class CustomUser(UserIndexMixin, PermissionsMixin, AbstractBaseUser):
            email = models.EmailField(unique=True)
            username = models.CharField(max_length=30)
            is_active = models.BooleanField(default=True)
            role = models.CharField(max_length=20)
            USERNAME_FIELD = "email"

            class Meta:
                app_label = "accounts"

        assert names(CustomUser) == USER_NAMES

    def test_the_hosts_inherited_meta_is_not_hidden(self) -> None:
        class Base(models.Model):
            role = models.CharField(max_length=20)

            class Meta:
                abstract = True
                app_label = "accounts"
                ordering = ["role"]
                verbose_name = "person"

        class Plain(IndexMixin):
            documented_indexes = ("role",)

            class Meta:
                abstract = True

        class First(Plain, Base):
            pass

        class Last(Base, Plain):
            pass

        for model in (First, Last):
            assert model._meta.ordering == ["role"]
            assert model._meta.verbose_name == "person"
            assert fields(model) == [["role"]]

    def test_abstract_users_meta_stays(self) -> None:
        class Plain(UserIndexMixin, AbstractUser):
            role = models.CharField(max_length=20)
            __module__ = "accounts.models"

        assert Plain._meta.verbose_name == "user"

    def test_a_hosts_meta_that_inherits_the_sets(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta(PaymentIndexMixin.Meta):
                app_label = "payment"
                abstract = False
                ordering = ["-created_at"]

        assert fields(Payment) == PAYMENT_COLUMNS
        assert Payment._meta.ordering == ["-created_at"]


class TestMeta:
    def test_own_meta_that_inherits_nothing(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"
                ordering = ["-created_at"]

        assert fields(Payment) == PAYMENT_COLUMNS

    def test_own_indexes_stay_and_come_first(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"
                indexes = [models.Index(fields=["payer_id", "status"], name="ours")]

        assert names(Payment)[0] == "ours"
        assert fields(Payment)[1:] == PAYMENT_COLUMNS

    def test_an_index_that_the_host_declares_is_its_own(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"
                indexes = [
                    models.Index(fields=["status"], name="by_status"),
                    models.Index(fields=["-created_at"], name="newest"),
                ]

        assert names(Payment)[:2] == ["by_status", "newest"]
        assert fields(Payment) == [
            ["status"],
            ["-created_at"],
            ["payer_id"],
            ["recipient_id"],
            ["job_id"],
            ["status", "created_at"],
        ]

    def test_db_index_is_the_hosts_own_index(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            status = models.CharField(max_length=20, db_index=True)

            class Meta:
                app_label = "payment"

        assert ["status"] not in fields(Payment)
        assert len(fields(Payment)) == 5

    def test_a_conditional_index_is_another_index(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"
                indexes = [
                    models.Index(
                        fields=["status"], name="open_ones", condition=models.Q(status="open")
                    )
                ]

        assert fields(Payment)[1:] == PAYMENT_COLUMNS

    def test_a_shared_meta_is_not_changed(self) -> None:
        class Shared:
            app_label = "payment"
            indexes = [models.Index(fields=["job_id"], name="%(class)s_by_job")]

        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta(Shared):
                pass

        class Refund(PaymentFields):
            class Meta(Shared):
                pass

        assert len(Shared.indexes) == 1
        assert names(Refund) == ["refund_by_job"]
        assert len(names(Payment)) == 6

    def test_abstract_chain(self) -> None:
        class Indexed(PaymentIndexMixin):
            class Meta:
                abstract = True

        class Base(Indexed, PaymentFields):
            class Meta:
                abstract = True
                app_label = "payment"
                ordering = ["created_at"]

        class Payment(Base):
            class Meta(Base.Meta):
                pass

        class Refund(Base):
            pass

        for model in (Payment, Refund):
            assert fields(model) == PAYMENT_COLUMNS
            assert model._meta.ordering == ["created_at"]
        assert not set(names(Payment)) & set(names(Refund))

    def test_two_sets_on_one_model(self) -> None:
        class Member(ProfileIndexMixin, UserIndexMixin):
            user_id = models.BigIntegerField()
            email = models.EmailField()
            username = models.CharField(max_length=9)
            is_active = models.BooleanField()
            role = models.CharField(max_length=9)
            joined_at = models.DateTimeField()

            class Meta:
                app_label = "payment"

        assert fields(Member) == [
            ["user_id"],
            ["role"],
            ["joined_at"],
            ["email"],
            ["username"],
            ["is_active"],
        ]

    def test_a_subclass_overrides_its_set(self) -> None:
        class Fewer(PaymentIndexMixin):
            documented_indexes = ("status",)

            class Meta:
                abstract = True

        class Payment(Fewer, PaymentFields):
            class Meta:
                app_label = "payment"

        assert fields(Payment) == [["status"]]


class TestNothingToDo:
    def test_proxy(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"

        class OpenPayment(Payment):
            class Meta:
                app_label = "payment"
                proxy = True

        assert OpenPayment._meta.indexes == []
        assert resolution_of(OpenPayment).added == ()

    def test_unmanaged(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"
                managed = False

        assert Payment._meta.indexes == []

    def test_multi_table_child(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"

        class CardPayment(Payment):
            card = models.CharField(max_length=9)

            class Meta:
                app_label = "payment"

        assert fields(Payment) == PAYMENT_COLUMNS
        assert CardPayment._meta.indexes == []
        assert resolution_of(CardPayment).problems == ()

    def test_set_on_the_child_indexes_the_childs_own_columns(self) -> None:
        class Record(models.Model):
            note = models.CharField(max_length=9)

            class Meta:
                app_label = "payment"

        class Payment(PaymentIndexMixin, Record):
            status = models.CharField(max_length=20)

            class Meta:
                app_label = "payment"
                abstract = False

        assert fields(Payment) == [["status"]]
        assert {p.code for p in resolution_of(Payment).problems} == {"querybudget.E030"}

    @override_settings(AUTH_USER_MODEL="accounts.Other")
    def test_swapped(self) -> None:
        class SwappedUser(UserIndexMixin, AbstractBaseUser):
            email = models.EmailField(unique=True)

            class Meta:
                app_label = "accounts"
                swappable = "AUTH_USER_MODEL"

        assert SwappedUser._meta.indexes == []
        assert resolution_of(SwappedUser).problems == ()

    @override_settings(AUTH_USER_MODEL="accounts.Person")
    def test_the_model_that_is_swapped_in(self) -> None:
        class Person(UserIndexMixin, AbstractUser):
            role = models.CharField(max_length=9)

            class Meta:
                app_label = "accounts"
                swappable = "AUTH_USER_MODEL"

        assert len(Person._meta.indexes) == 4

    def test_historical(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"

        state = state_of(Payment)
        rendered = state.apps.get_model("payment", "payment")
        assert rendered.__module__ == "__fake__"
        assert names(rendered) == names(Payment)
        bare = ProjectState()
        model_state = state.models["payment", "payment"].clone()
        model_state.options["indexes"] = []
        bare.add_model(model_state)
        assert bare.apps.get_model("payment", "payment")._meta.indexes == []

    def test_historical_model_with_the_set_among_its_bases(self) -> None:
        attrs = {
            "__module__": "__fake__",
            "status": models.CharField(max_length=9),
            "Meta": type("Meta", (), {"app_label": "payment", "apps": models.Model}),
        }
        del attrs["Meta"].apps
        model = type("Old", (PaymentIndexMixin,), attrs)
        assert model._meta.indexes == []
        assert resolution_of(model).problems == ()


class TestRenamed:
    def test_renamed_table(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            class Meta:
                app_label = "payment"
                db_table = "ledger"

        assert fields(Payment) == PAYMENT_COLUMNS
        assert all(name.startswith("ledger_") for name in names(Payment))

    def test_renamed_column(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            payer_id = models.BigIntegerField(db_column="buyer")

            class Meta:
                app_label = "payment"

        assert ["payer_id"] in fields(Payment)
        assert any(name.startswith("payment_pay_buyer_") for name in names(Payment))

    def test_a_field_of_another_name_over_the_documented_column(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            payer_id = None
            buyer = models.BigIntegerField(db_column="payer_id")

            class Meta:
                app_label = "payment"

        assert ["buyer"] in fields(Payment)
        assert "payment_pay_payer_i_97dc0f_idx" in names(Payment)

    def test_index_columns_names_the_hosts_own(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            payer_id = None
            buyer_id = models.BigIntegerField()
            index_columns = {"payer_id": "buyer_id"}

            class Meta:
                app_label = "payment"

        assert ["buyer_id"] in fields(Payment)
        assert len(fields(Payment)) == 6
        assert resolution_of(Payment).problems == ()

    def test_index_columns_none_leaves_out(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            created_at = None
            index_columns = {"created_at": None}

            class Meta:
                app_label = "payment"

        assert fields(Payment) == [["status"], ["payer_id"], ["recipient_id"], ["job_id"]]
        assert resolution_of(Payment).problems == ()


class TestOwnSets:
    def test_index_objects(self) -> None:
        class OpenSet(IndexMixin):
            documented_indexes = (
                models.Index(
                    fields=["-created_at"],
                    name="%(app_label)s_%(class)s_open",
                    condition=models.Q(status="open"),
                ),
                models.Index(models.F("status").desc(), name="%(class)s_status_desc"),
                ("payer_id", "-created_at"),
                "created_at",
            )

            class Meta:
                abstract = True

        class Payment(OpenSet, PaymentFields):
            class Meta:
                app_label = "payment"

        class Refund(OpenSet, PaymentFields):
            class Meta:
                app_label = "payment"

        assert names(Payment)[:2] == ["payment_payment_open", "payment_status_desc"]
        assert names(Refund)[:2] == ["payment_refund_open", "refund_status_desc"]
        assert fields(Payment)[2:] == [["payer_id", "-created_at"], ["created_at"]]
        assert Payment._meta.indexes[0].condition == models.Q(status="open")


class TestSkipRedundant:
    def test_what_the_schema_already_gives_is_left_out(self) -> None:
        class Person(models.Model):
            class Meta:
                app_label = "payment"

        class Review(ReviewIndexMixin):
            reviewed = models.ForeignKey(Person, models.CASCADE, related_name="+")
            reviewer = models.ForeignKey(Person, models.CASCADE, related_name="+")
            job = models.ForeignKey(Person, models.CASCADE, related_name="+", db_index=False)
            created_at = models.DateTimeField()
            index_skip_redundant = True

            class Meta:
                app_label = "payment"
                unique_together = [("reviewer", "reviewed", "job")]

        # The job's foreign key has no index of its own, so the documented one stays.
        assert fields(Review) == [["job_id"], ["created_at"]]
        assert len(resolution_of(Review).left_out) == 3

    def test_prefix_of_a_longer_documented_index(self) -> None:
        class OTP(OTPIndexMixin):
            user_id = models.BigIntegerField()
            is_verified = models.BooleanField()
            created_at = models.DateTimeField()
            index_skip_redundant = True

            class Meta:
                app_label = "payment"

        assert fields(OTP) == [["is_verified"], ["created_at"], ["user_id", "is_verified"]]


class TestMigrations:
    def hosts(self) -> tuple[type[models.Model], type[models.Model], type[models.Model]]:
        """Return one payment without indexes, one with hand-written ones, one with the set."""

        def bare() -> type[models.Model]:
            class Payment(PaymentFields):
                class Meta:
                    app_label = "payment"

            return Payment

        def written() -> type[models.Model]:
            class Payment(PaymentFields):
                class Meta:
                    app_label = "payment"
                    indexes = [models.Index(fields=columns) for columns in PAYMENT_COLUMNS]

            return Payment

        def mixed() -> type[models.Model]:
            class Payment(PaymentIndexMixin, PaymentFields):
                class Meta:
                    app_label = "payment"

            return Payment

        made = []
        for make in (bare, written, mixed):
            with isolate_apps("payment"):
                made.append(make())
        return made[0], made[1], made[2]

    def test_from_hand_written_to_the_set_and_back_is_no_change(self, changes: Changes) -> None:
        _, written, mixed = self.hosts()
        assert changes(written, mixed) == []
        assert changes(mixed, written) == []

    def test_from_none_adds_and_back_removes(self, changes: Changes) -> None:
        bare, _, mixed = self.hosts()
        added, removed = changes(bare, mixed), changes(mixed, bare)
        assert [type(op) for op in added] == [AddIndex] * 6
        assert [op.index.name for op in added] == names(mixed)
        assert [type(op) for op in removed] == [RemoveIndex] * 6
        assert sorted(op.name for op in removed) == sorted(names(mixed))

    def test_a_new_model_does_not_have_the_set_among_its_bases(self, changes: Changes) -> None:
        _, _, mixed = self.hosts()
        (create, *_) = changes(None, mixed)
        assert isinstance(create, CreateModel)
        assert create.bases == (models.Model,)


class TestBadInput:
    """Each problem is told by the resolution, and none raises while models are imported."""

    def test_a_column_that_is_not_there(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            payer_id = None

            class Meta:
                app_label = "payment"

        (problem,) = resolution_of(Payment).problems
        assert problem.code == "querybudget.E030"
        assert problem.message == (
            "payment.Payment has no column 'payer_id', which the documented index (payer_id) needs."
        )
        assert "created_at, id, job_id, recipient_id, status" in problem.hint
        assert len(fields(Payment)) == 5

    def test_a_wrong_key(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            index_columns = {"payer": "payer_id"}

            class Meta:
                app_label = "payment"

        (problem,) = resolution_of(Payment).problems
        assert problem.code == "querybudget.E031"
        assert "'payer'" in problem.message
        assert "payer_id" in problem.hint
        assert fields(Payment) == PAYMENT_COLUMNS

    def test_a_value_that_is_no_column(self) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            index_columns = {"payer_id": "byer_id"}

            class Meta:
                app_label = "payment"

        (problem,) = resolution_of(Payment).problems
        assert problem.code == "querybudget.E030"
        assert "'byer_id'" in problem.message
        assert "index_columns = {'payer_id': ...}" in problem.hint

    @pytest.mark.parametrize("value", [["payer_id"], "payer_id", {"payer_id": 3}, {1: "x"}, None])
    def test_index_columns_of_another_type(self, value: object) -> None:
        class Payment(PaymentIndexMixin, PaymentFields):
            index_columns = value

            class Meta:
                app_label = "payment"

        (problem,) = resolution_of(Payment).problems
        assert problem.code == "querybudget.E032"
        assert repr(value) in problem.message
        assert fields(Payment) == PAYMENT_COLUMNS

    @pytest.mark.parametrize("value", [5, "status", {"status"}, None])
    def test_documented_indexes_of_another_type(self, value: object) -> None:
        class Payment(IndexMixin, PaymentFields):
            documented_indexes = value

            class Meta:
                app_label = "payment"

        (problem,) = resolution_of(Payment).problems
        assert problem.code == "querybudget.E033"
        assert repr(value) in problem.message

    @pytest.mark.parametrize("entry", [5, ("status", 3), (), ("-",), models.Q(), {"status": 1}])
    def test_an_entry_of_another_type(self, entry: object) -> None:
        class Payment(IndexMixin, PaymentFields):
            documented_indexes = (entry, "status")

            class Meta:
                app_label = "payment"

        (problem,) = resolution_of(Payment).problems
        assert problem.code in {"querybudget.E030", "querybudget.E033"}
        assert fields(Payment) == [["status"]]

    def test_a_name_with_an_unknown_placeholder(self) -> None:
        class Payment(IndexMixin, PaymentFields):
            documented_indexes = (models.Index(fields=["status"], name="%(klass)s_status"),)

            class Meta:
                app_label = "payment"

        (problem,) = resolution_of(Payment).problems
        assert problem.code == "querybudget.E033"
        assert "klass" in problem.message
