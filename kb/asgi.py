"""The ASGI entry point that uvicorn serves."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")

# What follows needs this when it is imported.
django.setup(set_prefix=False)

from kb.core.body_limit import BodyLimit  # noqa: E402
from kb.core.handler import OneThread  # noqa: E402
from kb.core.lifespan import Lifespan, collect_seldom  # noqa: E402
from kb.core.pooling import keep_connections  # noqa: E402
from kb.search.warming import warm_soon  # noqa: E402

application = Lifespan(BodyLimit(OneThread()), [keep_connections, collect_seldom, warm_soon])
