"""Registers the documents app with Django."""

from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "kb.documents"
    label = "documents"
    verbose_name = "Documents"

    def ready(self) -> None:
        from kb.core import health
        from kb.documents.health import fetching

        health.of_apps.append(fetching)
