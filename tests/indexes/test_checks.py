"""The system checks: what they say, of whom, and how they are silenced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage
from django.db import models
from django.test.utils import isolate_apps

from django_querybudget.checks import check_settings
from django_querybudget.indexes import checks as index_checks
from django_querybudget.indexes.audit.findings import FindingKind
from django_querybudget.indexes.audit.models import audit_models, audited_models, is_third_party
from django_querybudget.indexes.checks import check_declared_indexes, check_documented_indexes
from django_querybudget.indexes.definitions import declared_indexes
from tests.indexes.documented import NAMES, REDUNDANT
from tests.indexes.planted.project import ROOT, Shop


def messages(*ids: str) -> list[CheckMessage]:
    """Return our own messages; the test has no database, so that none of them can open one."""
    wanted = {f"querybudget.{each}" for each in ids}
    found = [*check_settings(), *check_documented_indexes(), *check_declared_indexes()]
    return [message for message in found if message.id in wanted]


class TestDocumentedSet:
    def test_each_model_says_which_are_redundant_and_why(self) -> None:
        found = {message.obj._meta.label: message for message in messages("I030")}
        assert found.keys() == NAMES.keys()
        text = "".join(message.msg for message in found.values())
        named = {name for names in NAMES.values() for name in names if name in text}
        # The longer index of a prefix is named as the reason.
        assert named == REDUNDANT | {"payment_pay_status_19fbf4_idx"}
        payment = found["payment.Payment"]
        assert payment.msg.startswith("4 of the 6 documented indexes are redundant")
        assert "the foreign key already gives (payer_id)" in payment.msg
        assert "the longer payment_pay_status_19fbf4_idx (status, created_at)" in payment.msg
        assert "index_skip_redundant = True on Payment" in payment.hint

    def test_nothing_is_wrong_with_the_demo(self) -> None:
        assert messages("E030", "E031", "E032", "E033", "W030", "W031", "W032", "W033") == []

    def test_ten_of_the_twenty_two_are_left_without_the_redundant(self) -> None:
        """Each of the demo's models again, with index_skip_redundant."""
        kept = []
        for label in NAMES:
            model = apps.get_model(label)
            own = [f for f in model._meta.local_fields if not f.primary_key]
            attrs: dict[str, Any] = {field.name: field.clone() for field in own}
            meta = {
                "app_label": model._meta.app_label,
                "db_table": model._meta.db_table,
                "constraints": model._meta.constraints,
            }
            (mixin,) = [b for b in model.__bases__ if "documented_indexes" in vars(b)]
            attrs |= {
                "Meta": type("Meta", (), meta),
                "__module__": __name__,
                "index_skip_redundant": True,
            }
            with isolate_apps("accounts", "payment", "rating", "jobs"):
                lean = type(model.__name__, (mixin,), attrs)
            kept += [index.name for index in lean._meta.indexes]
        documented = {name for names in NAMES.values() for name in names}
        assert set(kept) == documented - REDUNDANT
        assert len(kept) == 10


class TestSilenced:
    def test_by_model(self, settings: Any) -> None:
        settings.QUERYBUDGET = {"INDEXES": {"IGNORE": ["payment.Payment", "jobs.*"]}}
        labels = {message.obj._meta.label for message in messages("I030")}
        assert labels == {
            "accounts.CustomUser",
            "accounts.OTP",
            "accounts.Profile",
            "rating.Review",
        }

    def test_by_index(self, settings: Any) -> None:
        settings.QUERYBUDGET = {"INDEXES": {"IGNORE": ["payment_pay_*", "accounts_*"]}}
        assert {m.obj._meta.label for m in messages("I030")} == {"rating.Review"}

    def test_by_id(self, settings: Any) -> None:
        settings.SILENCED_SYSTEM_CHECKS = ["querybudget.I030"]
        assert all(message.is_silenced() for message in messages("I030"))

    def test_bad_setting(self, settings: Any) -> None:
        settings.QUERYBUDGET = {"INDEXES": {"IGNORE": "payment.*"}}
        (message,) = messages("E001")
        assert 'QUERYBUDGET["INDEXES"]["IGNORE"]' in message.msg

    def test_third_party_models_are_not_the_projects_to_change(self) -> None:
        permission = apps.get_model("auth.Permission")
        assert is_third_party(permission)
        assert not is_third_party(apps.get_model("payment.Payment"))
        assert permission not in audited_models()
        assert permission in audited_models(third_party=True)

    def test_a_foreign_keys_own_index_is_the_audits_to_tell(self) -> None:
        """Else every project with a unique_together would read of it at each runserver."""
        review = apps.get_model("rating.Review")
        found = {(f.kind, f.index, f.implied) for f in audit_models([review])}
        assert (FindingKind.PREFIX, "(reviewer_id)", True) in found
        assert messages("I031") == []


class TestForeignKeys:
    @pytest.fixture(autouse=True)
    def _own_registry(self) -> Any:
        with isolate_apps("payment"):
            yield

    def found(self, **options: Any) -> list[tuple[FindingKind, str]]:
        class Parent(models.Model):
            class Meta:
                app_label = "payment"

        meta = type("Meta", (), {"app_label": "payment", **options.pop("meta", {})})
        attrs = {
            "parent": models.ForeignKey(Parent, models.CASCADE, **options),
            "other": models.IntegerField(),
            "Meta": meta,
            "__module__": __name__,
        }
        child = type("Child", (models.Model,), attrs)
        return [(finding.kind, finding.index) for finding in audit_models([child])]

    def test_without_an_index(self) -> None:
        assert self.found(db_index=False) == [(FindingKind.UNINDEXED_FOREIGN_KEY, "(parent_id)")]

    def test_with_its_own(self) -> None:
        assert self.found() == []

    @pytest.mark.parametrize(
        "meta",
        [
            {"indexes": [models.Index(fields=["parent", "other"], name="x")]},
            {"unique_together": [("parent", "other")]},
            {"constraints": [models.UniqueConstraint(fields=["parent"], name="x")]},
        ],
    )
    def test_with_an_index_that_begins_with_it(self, meta: dict[str, Any]) -> None:
        assert self.found(db_index=False, meta=meta) == []

    @pytest.mark.parametrize(
        "index",
        [
            models.Index(fields=["other", "parent"], name="x"),
            models.Index(fields=["parent"], name="x", condition=models.Q(other=1)),
        ],
    )
    def test_an_index_that_does_not_serve_it(self, index: models.Index) -> None:
        found = self.found(db_index=False, meta={"indexes": [index]})
        assert found == [(FindingKind.UNINDEXED_FOREIGN_KEY, "(parent_id)")]

    def test_a_unique_constraint_makes_its_index_redundant(self) -> None:
        meta = {"unique_together": [("parent", "other")]}
        assert self.found(meta=meta) == [(FindingKind.PREFIX, "(parent_id)")]


class TestGrouped:
    """One message for each kind in each model, what gains most first."""

    @pytest.fixture
    def found(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[CheckMessage]:
        with isolate_apps("payment"):

            class Parent(models.Model):
                class Meta:
                    app_label = "payment"

            class Untidy(models.Model):
                parent = models.ForeignKey(Parent, models.CASCADE)
                code = models.CharField(unique=True, max_length=9)
                bare = models.ForeignKey(
                    Parent, models.CASCADE, db_index=False, related_name="bares"
                )

                class Meta:
                    app_label = "payment"
                    indexes = [
                        models.Index(fields=["parent"], name="untidy_parent"),
                        models.Index(fields=["code"], name="untidy_code"),
                    ]

            monkeypatch.setattr(index_checks, "audited_models", lambda **_: [Parent, Untidy])
            monkeypatch.setattr(index_checks.apps, "get_model", lambda label: Untidy)
            return check_declared_indexes()

    def test_several_of_a_kind_are_one_message(self, found: list[CheckMessage]) -> None:
        assert [message.id for message in found] == ["querybudget.W032", "querybudget.W031"]
        redundant = found[1]
        assert redundant.msg.startswith("2 indexes are given by a field already:\n  - The index")
        assert "untidy_parent" in redundant.msg
        assert "untidy_code" in redundant.msg
        assert redundant.msg.count("Remove it from Meta.indexes") == 2

    def test_each_says_how_to_silence_it(self, found: list[CheckMessage]) -> None:
        for message in found:
            assert message.hint is not None
            assert message.hint.endswith(
                'To silence them, name the model in QUERYBUDGET["INDEXES"]["IGNORE"] '
                f"('payment.Untidy'), or the kind in SILENCED_SYSTEM_CHECKS ({message.id!r})."
            )

    def test_one_alone_reads_as_one(self, found: list[CheckMessage]) -> None:
        assert found[0].msg.startswith("The foreign key payment.Untidy.bare has no index")


def test_a_foreign_key_beside_an_equal_index_is_told_of_the_other() -> None:
    with isolate_apps("payment"):

        class Parent(models.Model):
            class Meta:
                app_label = "payment"

        class Child(models.Model):
            parent = models.ForeignKey(Parent, models.CASCADE)

            class Meta:
                app_label = "payment"
                constraints = [models.UniqueConstraint(fields=["parent"], name="only_one")]

        (finding,) = audit_models([Child])
    assert (
        finding.hint
        == "Set db_index=False on the foreign key, if the other index is there to stay."
    )


def test_indexes_on_fields_that_do_not_exist_are_djangos_to_report() -> None:
    with isolate_apps("payment"):

        class Wrong(models.Model):
            class Meta:
                app_label = "payment"
                indexes = [models.Index(models.F("nosuch"), name="y")]
                unique_together = [("nosuch", "id")]

        Wrong._meta.indexes.append(models.Index(fields=["nosuch"], name="x"))
        assert {index.columns for index in declared_indexes(Wrong)} == {("id",), ("F(nosuch)",)}


HOST = """
from django.db import models
from django_querybudget.indexes import PaymentIndexMixin


class Payment(PaymentIndexMixin, models.Model):
    status = models.CharField(max_length=9)
    payer_id = models.BigIntegerField()
    recipient_id = models.BigIntegerField()
    created_at = models.DateTimeField()
    {more}
"""

REPORT = """
import django
django.setup()
from django.apps import apps
print(len(apps.get_model("host.Payment")._meta.indexes))
"""


class Host(Shop):
    """A project with one app, in a folder of its own, and the apps installed in a given order."""

    def __init__(self, folder: Path, *installed: str, more: str = "") -> None:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        super().__init__(database)
        (folder / "host").mkdir()
        (folder / "host" / "__init__.py").write_text("urlpatterns = []\n")
        (folder / "host" / "models.py").write_text(HOST.format(more=more))
        (folder / "host_settings.py").write_text(
            "from tests.indexes.planted.settings import *\n"
            f"INSTALLED_APPS = {list(installed)!r}\n"
            'ROOT_URLCONF = "host"\n'
        )
        self.environment |= {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]),
            "DJANGO_SETTINGS_MODULE": "host_settings",
        }


class TestInstalled:
    """The mixins are imported by the host's models, whatever the order of INSTALLED_APPS."""

    more = 'index_columns = {"job_id": None}'

    @pytest.mark.parametrize("first", [True, False])
    def test_before_and_after_the_host(self, tmp_path: Path, first: bool) -> None:
        installed = ["django_querybudget", "host"] if first else ["host", "django_querybudget"]
        host = Host(tmp_path, *installed, more=self.more)
        assert host.run("-c", REPORT) == "5\n"
        assert "querybudget.E" not in host.errors("-m", "django", "check")

    def test_not_at_all(self, tmp_path: Path) -> None:
        host = Host(tmp_path, "host", more=self.more)
        assert host.run("-c", REPORT) == "5\n"
        errors = host.errors("-m", "django", "check")
        assert "querybudget.W033" in errors
        assert "Add 'django_querybudget' to INSTALLED_APPS" in errors

    def test_a_column_that_is_not_there(self, tmp_path: Path) -> None:
        host = Host(tmp_path, "django_querybudget", "host")
        assert host.run("-c", REPORT) == "5\n"
        errors = host.errors("-m", "django", "check", code=1)
        assert "(querybudget.E030) host.Payment has no column 'job_id'" in errors
        assert "index_columns = {'job_id': None}" in errors
