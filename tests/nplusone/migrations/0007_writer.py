"""A proxy whose manager has methods of its own."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("corpus", "0006_titled")]

    operations = [
        migrations.CreateModel(
            name="Writer",
            fields=[],
            options={"proxy": True, "indexes": [], "constraints": []},
            bases=("corpus.author",),
        ),
    ]
