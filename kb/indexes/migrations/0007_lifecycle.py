"""The life of an index version: what it waits for, who serves how many, and the reports that let it on.

A chunk may be deleted while the table of a version is dropped: the trigger then does without that table.
"""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

STATES = [
    ("building", "Building"),
    ("validating", "Validating"),
    ("shadow", "Shadow"),
    ("canary", "Canary"),
    ("live", "Live"),
    ("retired", "Retired (warm)"),
    ("dropped", "Dropped"),
    ("paused", "Paused"),
    ("cancelled", "Cancelled"),
    ("failed", "Failed"),
]

# Every version that is there was made with its HNSW index.
BUILT = "UPDATE indexes_indexversion SET built_at = created_at, started_at = created_at"

TRIGGER = """
CREATE OR REPLACE FUNCTION forget_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE version record;
BEGIN
    INSERT INTO indexes_tombstone (chunk_id, chunking_id, collection_id, length)
        SELECT id, chunking_id, collection_id, length FROM gone
        ON CONFLICT (chunk_id) DO NOTHING;
    DELETE FROM indexes_embeddingjob job USING gone WHERE job.chunk_id = gone.id;
    FOR version IN
        SELECT id FROM indexes_indexversion
        WHERE chunking_id IN (SELECT DISTINCT chunking_id FROM gone)
            AND to_regclass('embedding_' || id) IS NOT NULL
    LOOP
        %s
    END LOOP;
    RETURN NULL;
END $$;
"""
DELETE = (
    "EXECUTE format('DELETE FROM %I v USING gone WHERE v.chunk_id = gone.id', 'embedding_' || version.id);"
)
FORWARD = TRIGGER % f"BEGIN {DELETE} EXCEPTION WHEN undefined_table THEN NULL; END;"
BACKWARD = TRIGGER % DELETE


class Migration(migrations.Migration):
    dependencies = [
        ("indexes", "0006_segment_tiers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.AddField(
            "indexversion",
            "held",
            models.CharField(
                blank=True,
                choices=STATES,
                default="",
                help_text="the state that a paused one goes back to",
                max_length=12,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "indexversion",
            "error",
            models.TextField(blank=True, default="", help_text="why it failed"),
            preserve_default=False,
        ),
        migrations.AddField(
            "indexversion",
            "canary_percent",
            models.PositiveSmallIntegerField(default=0, help_text="of the readers whom it serves"),
        ),
        migrations.AddField(
            "indexversion",
            "shadow_share",
            models.FloatField(default=0.0, help_text="of the queries that it runs beside, from 0 to 1"),
        ),
        migrations.AddField(
            "indexversion",
            "derived_from",
            models.ForeignKey(
                blank=True,
                help_text="the version whose stored vectors it is computed of",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="derived",
                to="indexes.indexversion",
            ),
        ),
        migrations.AddField(
            "indexversion",
            "started_at",
            models.DateTimeField(blank=True, help_text="when building began, or was resumed", null=True),
        ),
        migrations.AddField(
            "indexversion",
            "built_at",
            models.DateTimeField(blank=True, help_text="when its HNSW index was there and valid", null=True),
        ),
        migrations.AddField(
            "indexversion",
            "drop_after",
            models.DateTimeField(blank=True, help_text="a retired one is kept until then", null=True),
        ),
        migrations.AddConstraint(
            "indexversion",
            models.UniqueConstraint(
                condition=models.Q(("state", "live")), fields=("index",), name="one_live_version"
            ),
        ),
        migrations.AddConstraint(
            "indexversion",
            models.UniqueConstraint(
                condition=models.Q(("state", "canary")), fields=("index",), name="one_canary_version"
            ),
        ),
        migrations.CreateModel(
            name="ValidationReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("verdict", models.CharField(choices=[("pass", "Passed"), ("fail", "Failed")], max_length=4)),
                ("reasons", models.JSONField(blank=True, default=list)),
                ("figures", models.JSONField(blank=True, default=dict)),
                ("override_reason", models.TextField(blank=True)),
                (
                    "against",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="indexes.indexversion",
                    ),
                ),
                (
                    "overridden_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="reports",
                        to="indexes.indexversion",
                    ),
                ),
            ],
            options={"ordering": ["-at"]},
        ),
        migrations.RunSQL(BUILT, migrations.RunSQL.noop),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
