"""What 0003 added to the queue is filled in, and vectors can be found by what was embedded."""

from django.db import migrations

FORWARD = """
UPDATE indexes_embeddingjob job SET collection_id = chunk.collection_id, tokens = chunk.tokens
    FROM documents_chunk chunk WHERE chunk.id = job.chunk_id;

DO $$
DECLARE version record;
BEGIN
    FOR version IN SELECT id FROM indexes_indexversion WHERE to_regclass('embedding_' || id) IS NOT NULL LOOP
        EXECUTE format(
            'CREATE INDEX %I ON %I USING hash (content_hash)',
            'embedding_' || version.id || '_content', 'embedding_' || version.id
        );
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("indexes", "0003_fair_queue")]
    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
