"""A search that failed is a query as well, so that it counts where times and canaries are judged."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("search", "0005_shadowing")]
    operations = [
        migrations.AddField(
            "query",
            "failed",
            models.BooleanField(
                default=False,
                db_default=False,
                help_text="the search ended with an error, and nobody got results",
            ),
        ),
    ]
