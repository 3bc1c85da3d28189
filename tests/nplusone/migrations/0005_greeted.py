"""A proxy whose instances look something up as they are made."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("corpus", "0004_shapes_of_real_projects")]

    operations = [
        migrations.CreateModel(
            name="Greeted",
            fields=[],
            options={"proxy": True, "indexes": [], "constraints": []},
            bases=("corpus.author",),
        ),
    ]
