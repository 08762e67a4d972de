# Two commands: `make repro` and `make test`. `make help` lists the rest. Another Python: make repro PYTHON=python3.12

PYTHON ?= python3
PY := .venv/bin/python

# The environment is ready for this folder: after a move the install step runs again, which takes seconds.
HERE := $(shell pwd | cksum | cut -d ' ' -f 1)
READY := .venv/.ready-$(HERE)
TEST_READY := .venv/.ready-test-$(HERE)
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --compile --require-hashes --no-build-isolation

# DVC starts each stage as `python -m ...`: the environment's Python must be the first found.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Nine processes a run pay for every import: keep the bytecode.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help repro test lint format status ui lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

repro: $(READY) ## run the whole pipeline, log it to MLflow, print the summary
	@.venv/bin/leads check
	@$(PY) -m dvc repro
	@.venv/bin/leads sync
	@.venv/bin/leads summary

test: $(TEST_READY) ## check everything: style, types, house rules, every test
	@$(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(TEST_READY) ## style, types and import layers only
	@$(PY) -m pytest -q tests/test_house.py

format: $(TEST_READY) ## let ruff format and repair the code
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .

status: $(READY) ## what a run would do now, and which figures differ from the last commit
	@$(PY) -m dvc status && $(PY) -m dvc metrics diff

ui: $(READY) ## open the MLflow UI on this machine
	@.venv/bin/leads ui

lock: ## resolve the lock files anew (needs uv)
	uv pip compile $(LOCK) -o requirements.lock pyproject.toml
	uv pip compile $(LOCK) -o requirements-signing.lock --extra signing -c requirements.lock pyproject.toml
	uv pip compile $(LOCK) -o requirements-test.lock --extra test --extra signing -c requirements-signing.lock pyproject.toml

LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --fork-strategy fewest --no-header

clean: ## remove the environment and caches; data/ and mlruns/ stay
	rm -rf .venv *.egg-info build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# setuptools first, from the same hashed lock: it builds what has no wheel, so that nothing unhashed is fetched.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, and $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@echo "Installing into .venv (about two minutes) ..."
	@$(PYTHON) -m venv .venv
	@sed -n '/^setuptools==/,/# via/p' requirements.lock > .venv/build.lock
	@$(INSTALL) -r .venv/build.lock
	@$(INSTALL) -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

$(TEST_READY): $(READY) requirements-test.lock
	@$(INSTALL) -r requirements-test.lock
	@touch $@
