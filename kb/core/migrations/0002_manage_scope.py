from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="apikey",
            name="scopes",
            field=ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("read", "Read collections and documents, search"),
                        ("ask", "Ask questions"),
                        ("write", "Upload, replace and delete documents"),
                        ("manage", "Create, change and delete collections, and their members"),
                    ],
                    max_length=10,
                ),
                size=None,
            ),
        ),
    ]
