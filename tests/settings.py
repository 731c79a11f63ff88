"""The project's settings for tests: a home of their own, no broker, no cache server."""

import os

os.environ["KB_HOME"] = os.environ.get("KB_TEST_HOME", "var/test")
os.environ.setdefault("SECRET_KEY", "only-for-tests")

from kb.settings import *  # noqa: F403

CACHES = {
    alias: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": alias}
    for alias in CACHES  # noqa: F405
}
CELERY_BROKER_URL = "memory://localhost/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}  # noqa: F405
EMBEDDER = "hashing"
WORKER_NICE = 0  # a worker within a test process would slow all that come after it down
# WhiteNoise looks for the folder, and warnings are errors here.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405
