"""A query that no index serves and that none would help: it wants every row."""

from __future__ import annotations

from django.test import TestCase

from tests.indexes.planted.shop.models import Item


class Wide(TestCase):
    def test_all_of_them(self) -> None:
        list(Item.objects.filter(quantity__gte=0))

    def test_one_of_them(self) -> None:
        list(Item.objects.filter(sku="s7"))
