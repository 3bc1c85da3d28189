"""A process of the project: does what each line of its input says, and answers with a line.

``[name, *arguments]`` in JSON calls one of the functions below.
"""

import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import django

django.setup()

from django.db import connection, transaction
from django.test import Client as Browser
from django_tenants.utils import schema_context

from django_querybudget.cache import cache_stats
from tests.cache.tenants import reads
from tests.cache.tenants.own.models import Note
from tests.cache.tenants.shared.models import Client, Domain, Price

TENANTS = ("t1", "t2")


def create() -> None:
    with connection.schema_editor() as editor:
        for model in (Client, Domain, Price):
            editor.create_model(model)
    Price.objects.create(pk=1, amount=1)
    for name in TENANTS:
        tenant = Client.objects.create(schema_name=name, name=name)
        Domain.objects.create(domain=f"{name}.example.com", tenant=tenant, is_primary=True)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA {name}")
        with schema_context(name):
            with connection.schema_editor() as editor:
                editor.create_model(Note)
            Note.objects.create(pk=1, text=name)


def read(tenant: str) -> Any:
    """Return what the tenant reads through the cache, and past it."""
    with schema_context(tenant):
        plain = [note.text for note in Note.objects.order_by("pk")]
        shared = [price.amount for price in Price.objects.order_by("pk")]
        return [reads.notes(), reads.decorated_notes(), reads.prices()], [plain, plain, shared]


def write(tenant: str, text: str) -> None:
    with schema_context(tenant):
        Note.objects.filter(pk=1).update(text=text)


def write_price(tenant: str, amount: int) -> None:
    with schema_context(tenant), transaction.atomic():
        price = Price.objects.get(pk=1)
        price.amount = amount
        price.save()


def request(tenant: str) -> Any:
    return json.loads(Browser().get("/notes/", headers={"host": f"{tenant}.example.com"}).content)


def switching_in_a_transaction() -> Any:
    """Read as one tenant after another, with savepoints that are rolled back."""
    found = []
    with transaction.atomic():
        for tenant in (*TENANTS, *TENANTS):
            with suppress(ZeroDivisionError), schema_context(tenant), transaction.atomic():
                found.append([reads.notes(), reads.decorated_notes()])
                raise ZeroDivisionError
            with schema_context(tenant):
                found.append([reads.notes(), reads.decorated_notes()])
    return found


def threads() -> Any:
    """Read as two tenants in two threads at once."""
    found: dict[str, set[str]] = {tenant: set() for tenant in TENANTS}

    def run(tenant: str) -> None:
        for _ in range(100):
            with schema_context(tenant):
                found[tenant] |= {*reads.notes(), *reads.decorated_notes()}
        connection.close()

    running = [threading.Thread(target=run, args=[tenant]) for tenant in TENANTS]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return {tenant: sorted(texts) for tenant, texts in found.items()}


def hits() -> int:
    return cache_stats(reset=True).hits


def main() -> None:
    known: dict[str, Callable[..., Any]] = globals()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(known[name](*arguments)), flush=True)


if __name__ == "__main__":
    main()
