"""Documents that are to be cut by another chunking wait in a queue of their own; endpoints that are told dimensions."""

import django.db.models.deletion
from django.db import migrations, models

TRAINING = "training_set_sha256; matryoshka: the numbers of dimensions that stand alone"


class Migration(migrations.Migration):
    dependencies = [("documents", "0006_fewer_indexes"), ("indexes", "0007_lifecycle")]
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
    ]
