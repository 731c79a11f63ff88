"""Registers the indexes app with Django."""

from django.apps import AppConfig


class IndexesConfig(AppConfig):
    name = "kb.indexes"
    label = "indexes"
    verbose_name = "Indexes"
