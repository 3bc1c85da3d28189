"""The page of production's record: ``path("querybudget/", include("django_querybudget.urls"))``."""

from __future__ import annotations

from django.urls import path

from django_querybudget.production.admin_link import add_to_admin

from .production import views

app_name = "querybudget"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("series/", views.series, name="series"),
    path("database/", views.database, name="database"),
    path("cache/", views.cache_page, name="cache"),
    path("tests/", views.tests, name="tests"),
    path("style.css", views.style, name="style"),
]

add_to_admin()
