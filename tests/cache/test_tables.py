"""When the tables, and all that is remembered by them, are made anew."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.signals import class_prepared
from django.test import override_settings

from django_querybudget.cache.tables import _MOST, _made, tables
from jobs.models import Job


def scopes(**fields: list[str]) -> dict[str, Any]:
    return {"payment.Payment": list(fields["payment"])}


def given(cache: dict[str, Any]) -> Any:
    return override_settings(QUERYBUDGET={"CACHE": cache})


def declared() -> set[str]:
    return set(tables().tables["payment_payment"].scopes)


def test_the_models_of_a_migration_change_nothing() -> None:
    """Each operation makes some, in a registry of its own, and executes statements."""
    known = tables()
    state = ProjectState()
    state.add_model(ModelState("jobs", "Once", [("id", models.BigAutoField(primary_key=True))]))
    assert state.apps.get_model("jobs", "Once")._meta.db_table == "jobs_once"
    assert tables() is known


def test_a_new_model_has_them_made_anew() -> None:
    known = tables()
    class_prepared.send(sender=Job)
    assert tables() is not known


def test_settings_that_are_put_back_have_the_tables_that_they_had() -> None:
    known = tables()
    with given({"SCOPES": scopes(payment=["payer"])}):
        others = tables()
        assert others is not known
        assert declared() == {"payer_id"}
    assert tables() is known
    with given({"SCOPES": scopes(payment=["payer"])}):
        assert tables() is others


def test_no_more_than_the_latest_are_kept() -> None:
    known = tables()
    for number in range(2 * _MOST):
        with given({"IGNORED_TABLES": [f"ignored_{number}"]}):
            tables()
    assert len(_made) == _MOST
    assert tables() is not known
    assert tables().made_by == known.made_by


def test_tables_of_caches_are_a_setting_too(settings: Any) -> None:
    """They are not written through: what is stored there is no row."""
    with given({"IGNORED_TABLES": ["a"]}):
        known = tables()
    settings.CACHES = {
        **settings.CACHES,
        "rows": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "entries"},
    }
    with given({"IGNORED_TABLES": ["a"]}):
        assert tables() is not known
