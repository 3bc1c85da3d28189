"""The page of production's record: ``path("querybudget/", include("django_querybudget.urls"))``."""

from __future__ import annotations

from django.urls import path

from .production import views

app_name = "querybudget"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("series/", views.series, name="series"),
    path("style.css", views.style, name="style"),
]
