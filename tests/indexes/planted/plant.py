"""Make the planted database: tables, rows, an index that no model has, and reads by the shop."""

import os
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.indexes.planted.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from tests.indexes.planted.shop.models import (  # noqa: E402
    Customer,
    Event,
    Item,
    Order,
    Visit,
)
from tests.indexes.planted.shop.workload import DAY, served  # noqa: E402

ROWS = 3000


def fill() -> None:
    hour = timedelta(hours=1)
    Customer.objects.bulk_create(
        Customer(
            email=f"c{n}@example.com",
            country=f"{n % 50}",
            referral_code=f"r{n}",
            created_at=DAY + n * hour,
            last_login=DAY,
            nickname=f"n{n}" if n % 100 else "",
        )
        for n in range(ROWS)
    )
    customers = list(Customer.objects.order_by("pk").values_list("pk", flat=True))
    Order.objects.bulk_create(
        Order(
            customer_id=customers[n],
            status="open" if n % 200 == 0 else "done",
            channel="web" if n % 2 else "app",
            coupon=f"c{n}",
            total=n % 1000,
            placed_at=DAY + n * hour * 3,
            note_code=f"n{n}",
        )
        for n in range(ROWS)
    )
    orders = list(Order.objects.order_by("pk").values_list("pk", flat=True))
    Item.objects.bulk_create(
        Item(order_id=orders[n], sku=f"s{n}", warehouse=f"w{n % 40}", quantity=n, batch=f"b{n}")
        for n in range(ROWS)
    )
    Event.objects.bulk_create(
        Event(
            kind=f"k{n % 30}",
            subject_id=n,
            happened_at=DAY + n * hour,
            source=f"src{n}",
            severity=n,
        )
        for n in range(ROWS)
    )
    Visit.objects.bulk_create(
        Visit(customer_id=customers[n], page=f"p{n}", agent=f"a{n}") for n in range(ROWS)
    )


def main() -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX redundant_by_hand ON shop_item (order_id)")
    fill()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    for _ in served():
        pass


if __name__ == "__main__":
    main()
