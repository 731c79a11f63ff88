"""Documents that are to be cut by another chunking wait in a queue of their own, collections may be on their way
into another index, and an endpoint may be told how many dimensions are wanted."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

TRAINING = "training_set_sha256; matryoshka: the numbers of dimensions that stand alone"


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0003_pausing_and_rates"),
        ("documents", "0006_fewer_indexes"),
        ("indexes", "0007_lifecycle"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.AddField(
            "embeddingmodel",
            "asks_dimensions",
            models.BooleanField(
                default=False, help_text="the endpoint is told how many dimensions are wanted"
            ),
        ),
        migrations.AlterField(
            "embeddingmodel", "training", models.JSONField(blank=True, default=dict, help_text=TRAINING)
        ),
        migrations.CreateModel(
            name="CuttingJob",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("error", models.TextField(blank=True)),
                (
                    "chunking",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cutting_jobs",
                        to="documents.chunking",
                    ),
                ),
                (
                    "document",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cutting_jobs",
                        to="documents.document",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["chunking", "document"], name="one_cutting_job")
                ]
            },
        ),
        migrations.CreateModel(
            name="CollectionMove",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "actor",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "collection",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="move", to="core.collection"
                    ),
                ),
                (
                    "index",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="moves", to="indexes.index"
                    ),
                ),
            ],
        ),
    ]
