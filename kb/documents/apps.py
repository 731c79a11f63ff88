"""Registers the documents app with Django."""

from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "kb.documents"
    label = "documents"
    verbose_name = "Documents"
