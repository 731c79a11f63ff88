# What a newcomer and a developer type; everything is installed into .venv and nowhere else.
SHELL := /bin/sh
.DEFAULT_GOAL := help

ifneq ($(words $(CURDIR)),1)
$(error The folder "$(CURDIR)" has a space in its path, which make cannot handle: move the project to another one)
endif

# The Python that makes .venv: the first in range. `make run PYTHON=/path/to/python3.12` names another.
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(IN_RANGE)' 2>/dev/null && echo $$python && break; done)
# Where torch comes from. PyTorch's index of CPU builds saves gigabytes on a machine without a GPU.
TORCH_INDEX_URL ?=
VENV_PYTHON := .venv/bin/python
PIP := $(VENV_PYTHON) -m pip --disable-pip-version-check
MANAGE := $(VENV_PYTHON) manage.py
# Two processes share the files of tests out, in their order.
SHARED := --numprocesses 2 --dist loadfile --no-loadscope-reorder
COMPILE := $(VENV_PYTHON) -m piptools compile --quiet --strip-extras --generate-hashes --unsafe-package torch \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate \
	--constraint requirements/torch.txt

# What is compiled is kept, whatever the shell says: each of a site's processes would take two seconds longer to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run install install-test test test-all test-faults check bench bench-ingest bench-search bench-rebuild lock openapi clean chromium

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

run: install  ## install what is needed and start everything; Ctrl-C stops it
	@exec $(MANAGE) up

install: .venv/.run  ## install what running needs

install-test: .venv/.test  ## install what testing needs too

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Footnote needs Python 3.11, 3.12 or 3.13 and found none. Install one," \
		"or say where it is: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c '$(IN_RANGE)' || { echo "Footnote needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is not one." \
		"Say where one is: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
		"Install its venv package (on Debian and Ubuntu: apt install python3-venv) and try again." >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
	@touch $@

# What is imported is compiled then: compiling all of it took a minute.
# torch first and apart: its CPU and CUDA builds differ, so no hash fits both; the rest is locked by hash.
.venv/.run: .venv/.made requirements/torch.txt requirements/run.txt
	$(PIP) install --no-compile $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) -r requirements/torch.txt
	$(PIP) install --no-compile --no-deps --require-hashes -r requirements/run.txt
	@touch $@

.venv/.test: .venv/.run requirements/test.txt
	$(PIP) install --no-compile --no-deps --require-hashes -r requirements/test.txt
	@touch $@

.venv/.bench: .venv/.test requirements/bench.txt
	$(PIP) install --no-compile --no-deps --require-hashes -r requirements/bench.txt
	@touch $@

chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; \
	else \
		echo "The browser tests need Chromium: install the package chromium and run this again." >&2; exit 1; \
	fi

test: install-test chromium  ## run the tests, but for the slow ones
	$(VENV_PYTHON) -m pytest -m "not slow" $(SHARED)

test-all: install-test chromium  ## run all tests
	$(VENV_PYTHON) -m pytest $(SHARED)

test-faults: install-test  ## kill, empty and fill up what ingestion and index versions rest on, a line for each fault
	$(VENV_PYTHON) -m pytest -v --no-header tests/services

check: export KB_HOME = var/check
check: install-test  ## lint, types, layout, migrations, templates
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(VENV_PYTHON) -m pytest -q tests/test_architecture.py
	$(MANAGE) check
	$(MANAGE) makemigrations --check --dry-run
	.venv/bin/djlint --lint --quiet templates

bench: .venv/.bench  ## measure what has a benchmark
	$(VENV_PYTHON) -m pytest tests/benchmarks --benchmark-group-by=func --benchmark-columns=median,iqr,rounds --benchmark-sort=name

bench-ingest: .venv/.bench  ## ingestion beside other pipelines, in one run of about a quarter of an hour
	$(VENV_PYTHON) -m tests.benchmarks.ingest

bench-search: .venv/.bench  ## searching beside other engines, in one run of about half an hour
	$(VENV_PYTHON) -m tests.benchmarks.search

bench-rebuild: .venv/.bench  ## another model and back while people search, in one run of about a quarter of an hour
	$(VENV_PYTHON) -m tests.benchmarks.rebuild

lock: install-test  ## resolve the requirements again, after a change of pyproject.toml
	$(PIP) install --quiet "pip-tools>=7.5"
	$(COMPILE) pyproject.toml --output-file requirements/run.txt
	$(COMPILE) --extra test pyproject.toml --output-file requirements/test.txt
	$(COMPILE) --extra test --extra bench pyproject.toml --output-file requirements/bench.txt
	$(COMPILE) --extra ocr pyproject.toml --output-file requirements/ocr.txt

openapi: install-test  ## write down the API's description, after a change of the API
	$(MANAGE) openapi > tests/openapi.json.new
	mv tests/openapi.json.new tests/openapi.json

clean:  ## remove what was installed and cached; the data in var/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
