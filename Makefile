# Everything is done through `make`; `make help` (or plain `make`) lists what there is.
# Needed: make and Python 3.11 or newer. Everything else is installed into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
SIZE ?= 1024

.PHONY: help run test check bench chaos proofs format migration install lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) ## Start everything on this machine and print its address and a sign-in link
	@exec $(BIN)/throughline up

test: $(READY) ## Run every check and test (real PostgreSQL and Redis are started for them)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted: run 'make format'."; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

check: $(READY) ## Look at every part of the running instance: each line is ok or says what mends it
	@$(BIN)/throughline check

bench: $(READY) ## Measure speed, as ratios against a baseline of the same run (PART="engine live": only these)
	@$(BIN)/python -m tests.bench $(PART)

chaos: $(READY) ## Kill, freeze and restart everything around the engine for a quarter of an hour (SEED=... again)
	@STORM_RUNS=$${STORM_RUNS:-2000} STORM_SECONDS=$${STORM_SECONDS:-900} STORM_SETTLE=$${STORM_SETTLE:-180} $(BIN)/python -m tests.crash.storm

proofs: $(READY) ## Upload 1 GiB over a line that is cut, to a server that is killed (SIZE=... MiB), and measure
	@$(BIN)/python -m tests.proofs $(SIZE)

format: $(READY) ## Format the code and mend what can be mended automatically
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix .

migration: $(READY) ## Write a migration from the models: make migration MESSAGE="add things"
	@$(BIN)/python -m migrations.new "$(MESSAGE)"

install: $(READY) ## Build .venv (the others do it by themselves)

lock: ## Write the lock files anew from pyproject.toml (needs `uv`)
	uv pip compile pyproject.toml --python-version 3.11 --universal --fork-strategy fewest --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --extra dev --constraint requirements.lock --python-version 3.11 --universal --fork-strategy fewest \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements-dev.lock

clean: ## Remove .venv and the tools' caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info

# Built anew when a lock file changes. The newest Python from 3.11 on that can make environments is taken.
$(READY): requirements.lock requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || { \
	  for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      echo "Building $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
	    fi; \
	  done; \
	  echo "Python 3.11 or newer with its venv module is needed (Debian: apt-get install python3-venv)."; exit 1; }
	@echo "Installing the packages of the lock file; this takes a minute or two, once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
