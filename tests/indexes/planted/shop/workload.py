"""What the shop asks of its database: ten needs that no index serves, and many that one does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from django.db.models import Count, Exists, F, OuterRef, Q
from django.db.models.functions import Lower
from django.test import TestCase

from tests.indexes.planted.shop.models import Customer, Event, Item, Order, Visit

DAY = datetime(2026, 3, 1, tzinfo=UTC)


class Missing(TestCase):
    """Each method's queries need one or two of the ten."""

    def test_customers(self) -> None:
        list(Customer.objects.filter(referral_code="r7"))
        list(Customer.objects.filter(country="de"))
        list(Customer.objects.filter(country="de", created_at__gte=DAY))
        list(Customer.objects.filter(country="de").order_by("-created_at")[:5])

    def test_orders(self) -> None:
        list(Order.objects.filter(status="open", channel="web"))
        list(Order.objects.filter(status="open").order_by("placed_at"))
        Order.objects.filter(status="lost").update(channel="web")
        list(Order.objects.filter(total__lt=0))
        Customer.objects.filter(orders__total__lt=0).count()

    def test_coupon(self) -> None:
        assert self.client.get("/coupon/c7/").status_code == 200

    def test_items(self) -> None:
        list(Item.objects.filter(sku="s7"))
        list(Item.objects.filter(warehouse="w1", sku="s7"))
        list(Item.objects.filter(warehouse="w1", quantity__lt=0))

    def test_events(self) -> None:
        list(Event.objects.filter(kind="k1", subject_id=3)[:10])
        list(Event.objects.all()[:20])
        Event.objects.first()

    def test_visits(self) -> None:
        customer = Customer.objects.create(email="new@example.com", created_at=DAY, last_login=DAY)
        list(customer.visits.all())
        customer.delete()


def served() -> Iterator[object]:
    """Queries that an index serves, or that no B-tree could."""
    yield list(Customer.objects.filter(email="c7@example.com"))
    yield list(Customer.objects.filter(pk__in=[1, 2, 3]))
    yield list(Customer.objects.filter(email="c7@example.com", country="de"))
    yield list(Customer.objects.filter(email__in=["a", "b"]).order_by("country"))
    yield list(Customer.objects.filter(nickname=""))
    yield list(Customer.objects.filter(nickname__icontains="x"))
    yield list(Customer.objects.annotate(low=Lower("nickname")).filter(low="x"))
    yield list(Customer.objects.exclude(country="de"))
    yield list(Customer.objects.filter(active=True))
    yield list(Customer.objects.filter(active=True, orders__pk=3))
    yield list(Customer.objects.filter(created_at=F("last_login")))
    yield list(Customer.objects.prefetch_related("orders__items").filter(pk__lt=5))
    yield list(Customer.objects.filter(orders__placed_at__gte=DAY, orders__customer=3))
    yield list(Customer.objects.annotate(n=Count("orders")).filter(n__gt=3))
    yield list(Customer.objects.filter(Q(email="a@example.com") | Q(pk=3)))
    yield list(Customer.objects.filter(Exists(Order.objects.filter(customer=OuterRef("pk"))), pk=7))
    yield list(Order.objects.select_related("customer").filter(pk=3))
    yield list(Order.objects.filter(customer=3, status="open"))
    yield list(Order.objects.filter(customer__email="c7@example.com", channel="web"))
    yield list(Order.objects.filter(placed_at__year=2026, placed_at__month=3))
    yield list(Order.objects.filter(placed_at__gte=datetime(2026, 12, 30, tzinfo=UTC)))
    yield list(Order.objects.order_by("-placed_at")[:10])
    yield list(Order.objects.order_by("-placed_at", "customer")[:10])
    yield list(Order.objects.filter(placed_at__gte=DAY, total__gt=900).order_by("placed_at"))
    yield list(Order.objects.filter(placed_at=DAY, total__gt=1200))
    yield list(Order.objects.order_by("pk")[:10])
    yield list(Order.objects.all())
    yield Order.objects.filter(pk=3).update(channel="web")
    yield Order.objects.filter(customer__in=Customer.objects.filter(pk=3)).count()
    yield Order.objects.aggregate(n=Count("pk"))
    yield list(Item.objects.filter(order=3))
    yield list(Item.objects.filter(order=3, returned=True, quantity__gt=1))
    yield list(Item.objects.filter(returned=True))
    yield list(Item.objects.filter(order__customer=3))
    yield list(Event.objects.filter(source="src7"))
    yield list(Event.objects.filter(source="src7", happened_at__gte=DAY)[:3])
    yield list(Visit.objects.filter(pk=3).union(Visit.objects.filter(page="p7")))
    yield list(Visit.objects.filter(page="p7"))
    yield list(Visit.objects.filter(page="p7", customer=7))
    yield list(Visit.objects.select_related("customer").filter(page__in=["p1", "p2"]))


class Served(TestCase):
    def test_served(self) -> None:
        for _ in served():
            pass
