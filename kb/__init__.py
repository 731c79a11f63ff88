"""The Django project: a knowledge base that answers with its sources."""

from kb.celery import app as celery_app

__all__ = ["celery_app"]
