"""Django's process-wide caches."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_querybudget import capture_queries
from django_querybudget.recording.warming import warm_django_caches
from jobs.models import Industry, Job


@pytest.mark.django_db
def test_content_types_are_read_at_once_and_no_capture_sees_it() -> None:
    ContentType.objects.clear_cache()
    with capture_queries() as log:
        warm_django_caches()
    assert log.count == 0
    with CaptureQueriesContext(connection) as queries:
        ContentType.objects.get_for_model(Industry)
        ContentType.objects.get_for_id(ContentType.objects.get_for_model(Job).pk)
        ContentType.objects.get_by_natural_key("jobs", "job")
    assert len(queries) == 0


def test_it_is_quiet_where_there_is_no_database() -> None:
    ContentType.objects.clear_cache()
    with capture_queries() as log:
        warm_django_caches()
    assert log.count == 0


@pytest.mark.django_db(databases=["postgres"])
def test_it_is_quiet_where_the_default_database_is_forbidden() -> None:
    ContentType.objects.clear_cache()
    warm_django_caches()
    assert Industry.objects.using("postgres").count() == 0


@pytest.mark.django_db
def test_without_content_types_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    with CaptureQueriesContext(connection) as queries:
        warm_django_caches()
    assert len(queries) == 0


@pytest.mark.django_db
def test_what_is_warm_is_not_asked_again_until_it_is_cleared() -> None:
    warm_django_caches()
    with CaptureQueriesContext(connection) as queries:
        warm_django_caches()
    assert len(queries) == 0
    ContentType.objects.clear_cache()
    with CaptureQueriesContext(connection) as queries:
        warm_django_caches()
    assert any("django_content_type" in query["sql"] for query in queries.captured_queries)


@pytest.mark.django_db
def test_a_capture_of_all_threads_does_not_see_it() -> None:
    ContentType.objects.clear_cache()
    with capture_queries(across_threads=True) as log:
        warm_django_caches()
        Industry.objects.count()
    assert log.count == 1


@pytest.mark.django_db(transaction=True)
def test_the_current_site_is_read_too() -> None:
    with override_settings(
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "django.contrib.sites"], SITE_ID=7
    ):
        site: Any = apps.get_model("sites.Site")
        with connection.schema_editor() as editor:
            editor.create_model(site)
        try:
            site.objects.create(pk=7, domain="example.org", name="example")
            site.objects.clear_cache()
            with capture_queries() as log:
                warm_django_caches()
                assert site.objects.get_current().domain == "example.org"
            assert log.count == 0
        finally:
            site.objects.clear_cache()
            with connection.schema_editor() as editor:
                editor.delete_model(site)
