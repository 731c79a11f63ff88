"""Text in, ranked evidence and cited answers out: a library without Django, Celery or SQL."""
