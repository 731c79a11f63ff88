"""`manage.py load_demo`: puts the demo corpus into a collection of its own, and makes a second model of it."""

import shutil
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.management.base import BaseCommand

import kb.core
from kb.core.actions import create_collection
from kb.core.models import Collection
from kb.core.people import acting
from kb.documents.actions import add_document
from kb.documents.uploading import Tally, files
from kb.indexes.model_actions import NewModel, register
from retrieval.embedders.principal import principal
from retrieval.loading.loaders import load

SLUG = "footnote-demo"
CORPUS = Path(kb.core.__file__).parent / "demo"
SPACE = "demo-space"  # in the folder of models
DIMENSIONS, FEWER = 384, (256, 128)
LEAST_CHARACTERS = 200  # of a passage that the space is made from


class Command(BaseCommand):
    help = "Puts the demo corpus (the handbook and a field guide to retrieval) into the collection footnote-demo."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--second-space",
            action="store_true",
            help="also register a second model, made of the default one, to build a version of an index with",
        )

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
        if options["second_space"]:
            directory = second_space(paths)
            model = register(actor, NewModel(str(directory), matryoshka=FEWER))
            self.stdout.write(
                f"Registered {model}: build with `manage.py index build --model {directory.name}`."
            )


def second_space(paths: Iterable[Path]) -> Path:
    """The directory of a model whose vectors are those of the default one, turned onto the main directions of the
    demo corpus: another space, of which fewer dimensions stand alone. Made once."""
    made = Path(settings.KB_HOME) / "models" / SPACE
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    texts = [text for path in paths for text in passages(path)]
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        shutil.move(principal(Path(folder) / SPACE, texts, DIMENSIONS), made)
    return made


def passages(path: Path) -> list[str]:
    paragraphs = load(path.read_bytes(), path.name).text.split("\n\n")
    return [text for text in paragraphs if len(text) >= LEAST_CHARACTERS]
