"""A collection that leaves an index is a row until it is gone from there, and a move says what keeps it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0003_pausing_and_rates"),
        ("indexes", "0008_cutting_anew"),
    ]
    operations = [
        migrations.AddField(
            "collectionmove",
            "error",
            models.TextField(blank=True, default="", help_text="what only a person can help with"),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="CollectionLeaving",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "begin_after",
                    models.DateTimeField(help_text="until then searches may still come there"),
                ),
                (
                    "collection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="leavings",
                        to="core.collection",
                    ),
                ),
                (
                    "index",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="leavings", to="indexes.index"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["collection", "index"], name="one_collection_leaving")
                ]
            },
        ),
    ]
