"""Segments are merged: blocks can be joined by their bytes, are found by term and segment, and go with the segment.

A segment says which analyser made its terms: those that are there were made by one that is no longer known.
"""

import numpy as np
from django.db import migrations, models

POSTING = np.dtype([("id", "<i4"), ("frequency", "<u2"), ("length", "<u2")])

# A collection or chunking that is deleted while its segments are merged takes the new one along as well.
FORWARD = """
CREATE FUNCTION forget_blocks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM indexes_postingblock WHERE segment_id = ANY(ARRAY(SELECT id FROM gone));
    RETURN NULL;
END $$;

CREATE TRIGGER segments_deleted AFTER DELETE ON indexes_segment
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_blocks();

DO $$
DECLARE old record;
BEGIN
    FOR old IN
        SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
        WHERE conrelid = 'indexes_segment'::regclass AND contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE indexes_segment DROP CONSTRAINT %I', old.conname);
        EXECUTE format(
            'ALTER TABLE indexes_segment ADD CONSTRAINT %I %s', old.conname,
            replace(old.definition, ' DEFERRABLE', ' ON DELETE CASCADE DEFERRABLE')
        );
    END LOOP;
END $$;
"""
BACKWARD = """
DROP TRIGGER segments_deleted ON indexes_segment;
DROP FUNCTION forget_blocks();
"""


def join_columns(apps, schema_editor):
    """Blocks were all ids, all frequencies, all lengths; now they are posting after posting."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT id FROM indexes_segment")
        for (segment,) in cursor.fetchall():
            cursor.execute("SELECT id, postings FROM indexes_postingblock WHERE segment_id = %s", [segment])
            rows = [(interleaved(bytes(block)), key) for key, block in cursor.fetchall()]
            cursor.executemany("UPDATE indexes_postingblock SET postings = %s WHERE id = %s", rows)


def interleaved(block):
    n = len(block) // POSTING.itemsize
    joined = np.empty(n, POSTING)
    joined["id"] = np.frombuffer(block, "<i4", n)
    joined["frequency"] = np.frombuffer(block, "<u2", n, 4 * n)
    joined["length"] = np.frombuffer(block, "<u2", n, 6 * n)
    return joined.tobytes()


class Migration(migrations.Migration):
    dependencies = [("indexes", "0005_longest_waiting_first")]
    operations = [
        migrations.AddField(
            "segment",
            "analyser",
            models.CharField(
                max_length=64,
                blank=True,
                default="",
                help_text="hash of the analyser that made its terms",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "segment",
            "live",
            models.BooleanField(
                default=True,
                help_text="searched; one made by another analyser takes its place as it is complete",
            ),
        ),
        migrations.RemoveIndex("postingblock", "posting_lookup"),
        migrations.RemoveField("postingblock", "chunking"),
        migrations.RemoveField("postingblock", "collection"),
        migrations.AlterField(
            "postingblock",
            "segment",
            models.ForeignKey(
                db_constraint=False,
                on_delete=models.deletion.DO_NOTHING,
                related_name="blocks",
                to="indexes.segment",
            ),
        ),
        migrations.AddIndex("postingblock", models.Index(fields=["term", "segment"], name="posting_by_term")),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunPython(join_columns, migrations.RunPython.noop),
    ]
