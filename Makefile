.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full bench lint format lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv from requirements.lock (hash-checked)

$(STAMP): requirements.lock
	@echo "==> creating $(VENV) from requirements.lock (first time: about 250 MB of downloads)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tapeline needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@
	@echo "==> $(VENV) is ready"

demo: setup ## Run the whole pipeline; TICKS=file FORMAT=kibot|binance|ndjson SPEED=60 DEMO_SECONDS=30
	@$(BIN)/python -m scripts.demo

test: setup ## Run every test that can run on this machine
	@echo "==> unit, property, integration and end-to-end tests on the embedded stack"
	@$(BIN)/python -m pytest -m "not full"

test-full: setup ## Run the tests with their full counts
	@$(BIN)/python -m pytest

bench: setup $(BENCH_STAMP) ## Measure all, beside plain versions and limits; writes bench/RESULTS.md
	@$(BIN)/python -m bench

$(BENCH_STAMP): bench/requirements.lock
	@echo "==> creating $(BENCH_VENV) for Quix Streams, which is measured beside the engine"
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.lock
	@touch $@

lint: setup ## Ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## Let ruff fix and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## Renew requirements.lock from pyproject.toml, and bench/requirements.lock
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" -o requirements.lock
	uv pip compile bench/requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" -o bench/requirements.lock

clean: ## Stop the stack and remove its state (not the download cache)
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m glue.stack down; fi
	rm -rf .tapeline logs
