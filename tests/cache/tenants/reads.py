"""The project's cached reads."""

from typing import Any

from django_querybudget.cache import cached_queryset
from tests.cache.tenants.own.models import Note
from tests.cache.tenants.shared.models import Price


def notes() -> list[str]:
    return [note.text for note in cached_queryset(Note.objects.order_by("pk"), timeout=60)]


@cached_queryset(timeout=60)
def ordered() -> Any:
    return Note.objects.order_by("pk")


def decorated_notes() -> list[str]:
    return [note.text for note in ordered()]


def prices() -> list[int]:
    return [price.amount for price in cached_queryset(Price.objects.order_by("pk"), timeout=60)]
