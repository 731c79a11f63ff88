import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

# Few rows, and no question finds a text whose language is not among them.
NOTE_LANGUAGES = """
INSERT INTO documents_collectionlanguage (collection_id, language)
SELECT DISTINCT document.collection_id, revision.language
FROM documents_document document JOIN documents_documentrevision revision ON revision.id = document.current_id
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0003_pausing_and_rates'),
        ('documents', '0004_paused_uploads'),
    ]

    operations = [
        migrations.AddField(
            model_name='document',
            name='tags',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, db_default=[], default=list, help_text='in lower case, one word each', size=None),
        ),
        migrations.AddIndex(
            model_name='document',
            index=django.contrib.postgres.indexes.GinIndex(fields=['tags'], name='document_tags'),
        ),
        migrations.CreateModel(
            name='CollectionLanguage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('language', models.CharField(blank=True, max_length=10)),
                ('collection', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='languages', to='core.collection')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('collection', 'language'), name='one_collection_language')],
            },
        ),
        migrations.RunSQL(NOTE_LANGUAGES, migrations.RunSQL.noop),
    ]
