"""Registers the search app; stored answers lose what rests on a document when it is deleted."""

from django.apps import AppConfig


class SearchConfig(AppConfig):
    name = "kb.search"
    label = "search"
    verbose_name = "Search"

    def ready(self) -> None:
        # Models can be imported only once all apps are registered, which is now.
        from kb.search import receivers

        receivers.connect()
