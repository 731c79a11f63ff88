"""Django's settings; what a deployment may change is declared in kb/core/environment.py."""

from datetime import timedelta
from typing import Any

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF
from django.templatetags.static import static
from django.urls import reverse_lazy

from kb.core import environment
from kb.core.embedded import layout
from kb.core.navigation import sidebar
from retrieval.embedders.backends import BACKENDS

# Lets Django's generic classes take type arguments at run time too.
django_stubs_ext.monkeypatch()

ROOT = environment.ROOT
KB_HOME = environment.home()
SECRET_KEY = environment.secret_key()
DEBUG = environment.flag("DEBUG")
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")
HOST = environment.text("HOST")
PORT = environment.number("PORT", 1, 65535)
SITE_URL = environment.text("SITE_URL").rstrip("/") or f"http://{HOST}:{PORT}"

INSTALLED_APPS = [
    "kb.core",
    "kb.documents",
    "kb.indexes",
    "kb.search",
    "kb.quality",
    "unfold",
    "django.contrib.admin.apps.SimpleAdminConfig",  # its pages are for what serves them: kb.urls looks for them
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "csp",
    "axes",
    "ninja",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "kb.core.middleware.ContentSecurityPolicy",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "kb.urls"
ASGI_APPLICATION = "kb.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Data -------------------------------------------------------------------------------------------
DATABASE_URL = environment.text("DATABASE_URL")
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(DATABASE_URL) if DATABASE_URL else layout.database(KB_HOME)
}
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASE_POOL = environment.number("DATABASE_POOL", 0, 1000)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = environment.text("REDIS_URL")
VALKEY = {
    "BACKEND": "kb.core.caching.RedisCache",
    "LOCATION": REDIS_URL or layout.cache_url(KB_HOME),
}
# A question does not wait for its vector in a cache that is slow.
HURRIED = {"OPTIONS": {"socket_timeout": 0.1, "socket_connect_timeout": 0.1}}
CACHES = {"default": VALKEY, "query_vectors": VALKEY | HURRIED}
MEDIA_ROOT = KB_HOME / "files"
FILE_UPLOAD_PERMISSIONS = 0o600
# Here and not in /tmp: what a killed web process leaves of an upload is swept away.
FILE_UPLOAD_TEMP_DIR = environment.kept_folder(KB_HOME / "uploads")
DATA_UPLOAD_MAX_NUMBER_FILES = 1000
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = KB_HOME / "static"
STATICFILES_DIRS = [ROOT / "static"]

# People -----------------------------------------------------------------------------------------
AUTH_USER_MODEL = "core.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = reverse_lazy("login")
LOGIN_REDIRECT_URL = reverse_lazy("ask")
LOGOUT_REDIRECT_URL = reverse_lazy("login")
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False
INVITATION_DAYS = 14

# Safety -----------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if environment.flag("HTTPS"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000

# Mail -------------------------------------------------------------------------------------------
DEFAULT_FROM_EMAIL = environment.text("EMAIL_FROM")
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
if environment.text("EMAIL_URL"):
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_USE_SSL = environment.mail_server()

# Work -------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL or layout.broker_url(KB_HOME)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Longer than the longest task (a parse with the longest PARSE_SECONDS), or Redis hands a running
    # task to a second worker.
    "visibility_timeout": 7200,
    # A broker that is gone must not hold up an upload: the sweeper finds the row instead.
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_TASK_ROUTES = {
    "kb.documents.tasks.parse_*": {"queue": "parse"},
    "kb.documents.tasks.fetch_*": {"queue": "fetch"},
    "kb.indexes.tasks.embed_*": {"queue": "embed"},
    "kb.quality.tasks.validate_*": {"queue": "embed"},
    "kb.indexes.tasks.build_*": {"queue": "fetch"},
    "kb.indexes.tasks.cut_*": {"queue": "parse"},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(KB_HOME / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "heartbeats": {
        "task": "kb.core.tasks.ask_for_heartbeats_task",
        "schedule": 20.0,
        "options": {"expires": 20},
    },
    "sweep-documents": {
        "task": "kb.documents.tasks.sweep_documents_task",
        "schedule": 10.0,
        "options": {"expires": 30},
    },
    "sweep-embeddings": {
        "task": "kb.indexes.tasks.sweep_embeddings_task",
        "schedule": 10.0,
        "options": {"expires": 30},
    },
    "sweep-sources": {
        "task": "kb.documents.tasks.sweep_sources_task",
        "schedule": 10.0,
        "options": {"expires": 30},
    },
    "sweep-files": {
        "task": "kb.documents.tasks.sweep_files_task",
        "schedule": 3600.0,
        "options": {"expires": 600},
    },
    "merge-segments": {
        "task": "kb.indexes.tasks.merge_segments_task",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "repost-segments": {
        "task": "kb.indexes.tasks.repost_segments_task",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "end-versions": {
        "task": "kb.indexes.tasks.end_versions_task",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "sweep-validations": {
        "task": "kb.quality.tasks.sweep_validations_task",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "steer-canaries": {
        "task": "kb.search.tasks.steer_canaries_task",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "repair-queue": {
        "task": "kb.indexes.tasks.repair_queue_task",
        "schedule": 300.0,
        "options": {"expires": 120},
    },
}

# Parsing, embedding, answering --------------------------------------------------------------------
MAX_UPLOAD_BYTES = environment.number("MAX_UPLOAD_MB", 1) * 1024 * 1024
MOST_WAITING = environment.number("MOST_WAITING", 1)
PARSE_MEMORY_BYTES = environment.number("PARSE_MEMORY_MB", 64) * 1024 * 1024
PARSE_SECONDS = environment.number("PARSE_SECONDS", 1, 1200)
PARSE_MAX_CHARACTERS = environment.number("PARSE_MAX_CHARACTERS", 1000)
PARSE_WORKERS = environment.number("PARSE_WORKERS", 1, 64)
FETCH_THREADS = environment.number("FETCH_THREADS", 1, 64)
EMBED_THREADS = environment.number("EMBED_THREADS", 0, 256)
WORKER_NICE = environment.number("WORKER_NICE", 0, 19)
EMBEDDER = environment.choice("EMBEDDER", "local", "hashing")
EMBED_BACKEND = environment.choice("EMBED_BACKEND", "auto", *map(str, BACKENDS))
SEARCH_DEADLINE_MS = environment.number("SEARCH_DEADLINE_MS", 100, 120_000)
EMBED_DEADLINE_MS = environment.number("EMBED_DEADLINE_MS", 10, 60_000)
QUERY_VECTOR_HOURS = environment.number("QUERY_VECTOR_HOURS", 1, 8760)
EMBEDDINGS_API_KEY = environment.text("EMBEDDINGS_API_KEY")
EMBEDDINGS_TIMEOUT_SECONDS = environment.number("EMBEDDINGS_TIMEOUT_SECONDS", 1, 600)
WATTS = environment.number("WATTS", 1, 100_000)
INDEX_BUILD_PERCENT = environment.number("INDEX_BUILD_PERCENT", 1, 100)
CANARY_STEP_HOURS = environment.number("CANARY_STEP_HOURS", 0, 8760)
CANARY_STEP_QUERIES = environment.number("CANARY_STEP_QUERIES", 0)
INDEX_SOAK_HOURS = environment.number("INDEX_SOAK_HOURS", 0, 8760)
LLM_BASE_URL = environment.text("LLM_BASE_URL")
LLM_MODEL = environment.text("LLM_MODEL")
LLM_API_KEY = environment.text("LLM_API_KEY")
LLM_TIMEOUT_SECONDS = environment.number("LLM_TIMEOUT_SECONDS", 1, 3600)

# Language, time, logs -----------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = environment.text("TIME_ZONE")
USE_TZ = True
USE_I18N = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {
        "handlers": ["console"],
        "level": environment.choice("LOG_LEVEL", "DEBUG", "INFO", "WARNING", "ERROR"),
    },
}
UNFOLD = {
    "SITE_TITLE": "Footnote",
    "SITE_HEADER": "Footnote",
    "SITE_URL": reverse_lazy("ask"),
    "SITE_SYMBOL": "menu_book",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("favicon.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "kb.search.admin.dashboard.dashboard",
    "SIDEBAR": sidebar(),
    "COLORS": {
        "primary": {
            "50": "#fdf5f2",
            "100": "#fae8e1",
            "200": "#f4d1c4",
            "300": "#eab19b",
            "400": "#dc8568",
            "500": "#c9613f",
            "600": "#a8432a",
            "700": "#8f2d1a",
            "800": "#752717",
            "900": "#602418",
            "950": "#34100a",
        }
    },
}
