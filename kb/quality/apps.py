"""Registers the quality app with Django."""

from django.apps import AppConfig


class QualityConfig(AppConfig):
    name = "kb.quality"
    label = "quality"
    verbose_name = "Quality"
