"""Registers the indexes app and connects it to the documents' signals."""

from django.apps import AppConfig


class IndexesConfig(AppConfig):
    name = "kb.indexes"
    label = "indexes"
    verbose_name = "Indexes"

    def ready(self) -> None:
        # Models can be imported only once all apps are registered, which is now.
        from kb.indexes import pausing, receivers

        receivers.connect()
        pausing.connect()
