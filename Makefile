# `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := .venv-bench
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links # no index address in a lock

.DEFAULT_GOAL := help
.PHONY: help install demo test check format schemas bench image-check lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "foretell needs Python 3.11 or newer, this is %s: make PYTHON=/path/to/python3.11 ..." % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: $(READY) ## make .venv from requirements.lock

demo: $(READY) ## the main job on a real Kafka, about a minute; ARGS="--keep" leaves it running
	@$(BIN)/foretell demo $(ARGS)

test: $(READY) ## the whole suite, real Kafka included
	$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## ruff, mypy strict, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(READY) ## write docs/schemas from the message models
	$(BIN)/foretell schemas write

bench: $(READY) $(BENCH)/.ready ## how good the detectors are, and how fast all is beside others; DATA=folder SCALE=quick
	$(BIN)/python -m bench.detection --data $(or $(DATA),../shared/data)
	$(BIN)/python -m bench.throughput --scale $(or $(SCALE),full)

$(BENCH)/.ready: bench/references/requirements.txt
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@echo '*' > $(BENCH)/.gitignore
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/references/requirements.txt
	@touch $@

image-check: $(READY) ## the image's install steps, compose and monitoring files, as far as that goes without Docker
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python -m pytest tests/deploy $(ARGS)

lock: ## write the lock files anew from pyproject.toml
	$(COMPILE) --extra local --extra dev pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml -o requirements-runtime.lock

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
