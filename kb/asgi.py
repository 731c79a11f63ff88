"""The ASGI entry point that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")

# Sets Django up, which what follows needs when it is imported.
django = get_asgi_application()

from kb.core.body_limit import BodyLimit  # noqa: E402
from kb.core.lifespan import Lifespan, collect_seldom  # noqa: E402
from kb.core.pooling import keep_connections  # noqa: E402
from kb.search.warming import warm_soon  # noqa: E402

application = Lifespan(BodyLimit(django), [keep_connections, collect_seldom, warm_soon])
