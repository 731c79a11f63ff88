"""`manage.py ensure_index`: makes the default index where there is none."""

from typing import Any

from django.core.management.base import BaseCommand

from kb.indexes.actions import ensure_default_index


class Command(BaseCommand):
    help = "Makes the default index, unless there is one. Run by `manage.py prepare`."

    def handle(self, *args: Any, **options: Any) -> None:
        index = ensure_default_index()
        self.stdout.write(f"Index {index.name} serves {index.live_version}.")
