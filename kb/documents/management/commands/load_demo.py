"""`manage.py load_demo`: puts the demo corpus into a collection of its own."""

from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import BaseCommand

import kb.core
from kb.core.actions import create_collection
from kb.core.models import Collection
from kb.core.people import acting
from kb.documents.actions import add_document
from kb.documents.uploading import Tally, files

SLUG = "footnote-demo"
CORPUS = Path(kb.core.__file__).parent / "demo"


class Command(BaseCommand):
    help = "Puts the demo corpus (the handbook and a field guide to retrieval) into the collection footnote-demo."

    def handle(self, *args: Any, **options: Any) -> None:
        actor = acting(None)
        collection = Collection.objects.filter(slug=SLUG).first() or create_collection(
            actor,
            "Footnote demo",
            slug=SLUG,
            description="The Footnote handbook and a field guide to embeddings and retrieval.",
            visibility=Collection.Visibility.SIGNED_IN,
        )
        paths = sorted(files([CORPUS / "handbook", CORPUS / "guide"], Tally()))
        for path in paths:
            with path.open("rb") as opened:
                add_document(actor, collection, File(opened, name=path.name))
        self.stdout.write(f"{len(paths)} demo documents are in the collection {SLUG}.")
