"""A stock admin with inline rows: Django's own loops fail no request, whatever NPLUSONE says."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin import AdminSite, ModelAdmin, TabularInline
from django.contrib.auth import get_user_model
from django.test import Client, override_settings
from django.urls import path

from .data import fill
from .models import Author, Club, Seat, Ticket

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Seats(TabularInline):  # type: ignore[type-arg]
    model = Seat
    extra = 0


class ClubAdmin(ModelAdmin):  # type: ignore[type-arg]
    inlines = (Seats,)


site = AdminSite(name="posted_admin")
site.register(Club, ClubAdmin)
site.register(Ticket)
urlpatterns = [path("admin/", site.urls)]


@pytest.fixture
def staff(db: None) -> Client:
    fill()
    model: Any = get_user_model()
    user = model(**{model.USERNAME_FIELD: "staff@example.org"}, is_staff=True, is_superuser=True)
    user.save()
    client = Client()
    client.force_login(user)
    return client


def _rows(seats: list[Seat]) -> dict[str, str]:
    data = {"seats-TOTAL_FORMS": "4", "seats-INITIAL_FORMS": str(len(seats)), "name": "new club"}
    authors = list(Author.objects.order_by("-pk")[:4])
    for number, author in enumerate(authors):
        data[f"seats-{number}-person"] = str(author.pk)
        data[f"seats-{number}-since"] = "2021"
    for number, seat in enumerate(seats):
        data |= {f"seats-{number}-id": str(seat.pk), f"seats-{number}-club": str(seat.club_id)}
    return data


@override_settings(QUERYBUDGET={"NPLUSONE": "raise"})
def test_four_inline_rows_are_added_and_changed(staff: Client) -> None:
    response = staff.post("/admin/corpus/club/add/", _rows([]))
    assert response.status_code == 302, response.content
    club = Club.objects.get(name="new club")
    seats = list(club.seats.order_by("pk"))
    assert len(seats) == 4
    response = staff.post(f"/admin/corpus/club/{club.pk}/change/", _rows(seats))
    assert response.status_code == 302, response.content


@override_settings(QUERYBUDGET={"NPLUSONE": "raise"})
def test_three_keys_to_one_model_are_added(staff: Client) -> None:
    first, second, third = Author.objects.order_by("pk").values_list("pk", flat=True)[:3]
    data = {"title": "new", "reporter": first, "assignee": second, "reviewer": third}
    response = staff.post("/admin/corpus/ticket/add/", data)
    assert response.status_code == 302, response.content
