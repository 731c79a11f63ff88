"""When chunks go, by whatever way, their vectors, jobs and postings go in the same transaction."""

from django.db import migrations

FORWARD = """
CREATE EXTENSION IF NOT EXISTS vector;

ALTER TABLE indexes_postingblock ALTER COLUMN postings SET STORAGE EXTERNAL;

CREATE FUNCTION forget_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
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
        EXECUTE format('DELETE FROM %I v USING gone WHERE v.chunk_id = gone.id', 'embedding_' || version.id);
    END LOOP;
    RETURN NULL;
END $$;

CREATE TRIGGER chunks_deleted AFTER DELETE ON documents_chunk
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_chunks();
"""

BACKWARD = """
DROP TRIGGER chunks_deleted ON documents_chunk;
DROP FUNCTION forget_chunks();
"""


class Migration(migrations.Migration):
    dependencies = [("indexes", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
