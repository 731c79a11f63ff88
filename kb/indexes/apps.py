"""Registers the indexes app and connects it to the documents' signals."""

from django.apps import AppConfig


class IndexesConfig(AppConfig):
    name = "kb.indexes"
    label = "indexes"
    verbose_name = "Indexes"

    def ready(self) -> None:
        from kb.documents.signals import chunkings_wanted, chunks_changed
        from kb.indexes.receivers import answer_chunkings_wanted, take_changed_chunks

        chunkings_wanted.connect(answer_chunkings_wanted)
        chunks_changed.connect(take_changed_chunks)
