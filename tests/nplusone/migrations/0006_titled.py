"""Proxies whose text asks for a relation."""

from typing import Any

from django.db import migrations

PROXY: dict[str, Any] = {"proxy": True, "indexes": [], "constraints": []}


class Migration(migrations.Migration):
    dependencies = [("corpus", "0005_greeted")]

    operations = [
        migrations.CreateModel(name="TitledBook", fields=[], options=PROXY, bases=("corpus.book",)),
        migrations.CreateModel(
            name="TitledReview", fields=[], options=PROXY, bases=("corpus.review",)
        ),
    ]
