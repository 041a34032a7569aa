# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export GHOST_DATA ?= data
SOAK_MINUTES ?= 30
YEAR_DAYS ?= 365
ATTACK_SEEDS ?= 3
LOCKED := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url \
	--no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help run test test-long attack soak check format bench year docs lock ui notebook clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY)  ## Set up, generate a realistic source, materialize its newest hour and month, show what came out
	@$(BIN)/ghost-pipeline demo

test: $(READY)  ## Set up and run the tests for every change (about 14 minutes on two cores)
	@$(BIN)/pytest -n 2 --dist worksteal -m "not long"

test-long: $(READY)  ## Run the others: kills and faults, deployments, buckets, whole ranges, all random examples
	@GHOST_ALL_EXAMPLES=1 $(BIN)/pytest -n 2 --dist worksteal -m "long or examples"

attack: $(READY)  ## Play one reader against all that is shown, over worlds of ATTACK_SEEDS (3) seeds
	@$(BIN)/python -m ghost_pipeline_tests.attacks --seeds $(ATTACK_SEEDS)

soak: $(READY)  ## Let runs meet with faults, kills and one another for SOAK_MINUTES (30)
	@SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m ghost_pipeline_tests.crashes

check: $(READY)  ## Lint, formatting, layers, types, lock file, code location
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo --no-cache pyproject.toml
	@$(BIN)/ast-grep scan --rule ghost_pipeline/domain/pure.yml ghost_pipeline/domain
	@$(BIN)/mypy
	@$(BIN)/python -m ghost_pipeline_tests.lock_check
	@DAGSTER_HOME= $(BIN)/dagster definitions validate -w workspace.yaml

format: $(READY)  ## Format the code and sort its imports
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)  ## Measure speed and memory against hand-written peers (about an hour)
	@$(BIN)/python -m ghost_pipeline_tests.bench

year: $(READY)  ## Simulate a year of hourly runs beside a small product (YEAR_DAYS=365; an hour or more)
	@YEAR_DAYS=$(YEAR_DAYS) $(BIN)/python -m ghost_pipeline_tests.year

docs: $(READY)  ## Write the pages of docs/ that follow from the code
	@$(BIN)/python -m ghost_pipeline_tests.docs.pages

ui: $(READY)  ## Open the Dagster UI on http://127.0.0.1:3000
	@$(BIN)/ghost-pipeline ui

notebook: $(READY)  ## Open the example notebook over what was built
	@$(BIN)/marimo edit examples/three_pictures.py

lock: $(if $(wildcard $(BIN)/uv),,$(READY))  ## Resolve the dependencies again into requirements.lock
	@$(BIN)/uv pip compile $(LOCKED) --extra dev --extra kubernetes --upgrade pyproject.toml --output-file requirements.lock
	@# What of it the image needs: setuptools installs the package there.
	@echo setuptools | $(BIN)/uv pip compile $(LOCKED) --extra kubernetes --constraint requirements.lock pyproject.toml - \
		--output-file deploy/requirements.lock

clean:  ## Remove the environment and everything that was written to data/
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@git clean -fdXq data

$(READY): requirements.lock pyproject.toml setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
		"ghost_pipeline needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.13 ...")'
	@echo "Setting up $(VENV) (once; takes a minute or two) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@# The lock is complete: nothing to resolve, and pip's resolver stumbles over extras where hashes are required.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $(READY)
