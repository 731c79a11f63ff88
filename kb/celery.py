"""The Celery application: the broker only wakes workers up, the database says what is to be done."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")
# A worker would run Django's checks, for which it reads all pages, and look at nothing of what they say.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

app = Celery("kb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
