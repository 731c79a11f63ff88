"""The ASGI entry point that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")

# What it imports reads the settings.
from kb.core.body_limit import BodyLimit

application = BodyLimit(get_asgi_application())
