#!/bin/sh
# Becomes the process that the container is for; anything else is a management command.
set -eu
role="${1:-web}"
[ "$#" -eq 0 ] || shift
case "$role" in
web)
    exec python -m uvicorn kb.asgi:application --host "$HOST" --port "$PORT" \
        --timeout-graceful-shutdown 5 --no-access-log --lifespan on --no-server-header \
        --no-proxy-headers "$@"
    ;;
worker-control)
    exec python -m celery -A kb worker -n control@%h -Q control --pool threads -c 2 \
        --without-gossip --without-mingle --loglevel INFO "$@"
    ;;
worker-parse)
    exec python -m celery -A kb worker -n parse@%h -Q parse -c "${PARSE_WORKERS:-2}" \
        --without-gossip --without-mingle --loglevel INFO "$@"
    ;;
worker-embed)
    exec python -m celery -A kb worker -n embed@%h -Q embed --pool solo \
        --without-gossip --without-mingle --loglevel INFO "$@"
    ;;
worker-fetch)
    exec python -m celery -A kb worker -n fetch@%h -Q fetch --pool threads -c "${FETCH_THREADS:-8}" \
        --without-gossip --without-mingle --loglevel INFO "$@"
    ;;
beat)
    exec python -m celery -A kb beat --loglevel INFO "$@"
    ;;
*)
    exec python manage.py "$role" "$@"
    ;;
esac
