.DEFAULT_GOAL := help
.PHONY: help setup demo up down test test-full golden bench lint format lock clean docker-engine

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPOSE = docker compose --file docker/compose.yml --env-file docker/versions.env $(if $(wildcard .env),--env-file .env)
TEST_PROCESSES ?= 3
PYTEST = $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv from requirements.lock (hash-checked)

$(STAMP): requirements.lock
	@echo "==> creating $(VENV) from requirements.lock (first time: about 400 MB of downloads)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tapeline needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@
	@echo "==> $(VENV) is ready"

demo: setup ## Run the whole pipeline; TICKS=file FORMAT=kibot|binance|ndjson SPEED=60 DEMO_SECONDS=30
	@$(BIN)/python -m scripts.demo

up: docker-engine ## Start the pipeline on containers, wait until it is healthy; PROFILE=warehouse, ui or monitoring
	@$(COMPOSE) $(foreach name,$(PROFILE),--profile $(name)) up --detach --build --wait
	@$(COMPOSE) ps --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'

down: docker-engine ## Stop the containers and remove them, keep their data; PURGE=1 deletes that as well
	@$(COMPOSE) --profile '*' down --remove-orphans $(if $(PURGE),--volumes)

docker-engine:
	@command -v docker > /dev/null || { echo "make up and make down need Docker, and there is no docker client here; make demo runs the pipeline without it"; exit 1; }
	@docker compose version > /dev/null 2>&1 || { echo "the docker client has no compose plugin (Docker Compose 2.24 or newer)"; exit 1; }
	@docker info > /dev/null 2>&1 || { echo "no Docker engine answers (docker info says why); make demo runs the pipeline without it"; exit 1; }

test: setup ## Run every test that can run on this machine; TEST_PROCESSES=3
	@echo "==> unit, property, integration and end-to-end tests, on $(TEST_PROCESSES) embedded stacks side by side"
	@$(PYTEST) -m "not full"

test-full: setup ## Run the tests with their full counts
	@$(PYTEST)

golden: setup ## Record tests/golden/ksqldb anew from the ksqlDB server of KSQLDB_URL
	@$(BIN)/python -m tests.contract.record

bench: setup $(BENCH_STAMP) ## Measure all, beside plain versions and limits; writes bench/RESULTS*.md
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

lock: ## Renew the locks: requirements.lock, those of images and bench, and the npm packages of the dashboard
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-strip-extras --custom-compile-command "make lock" -o requirements.lock
	uv pip compile pyproject.toml --extra worker --extra feed --extra warehouse --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-strip-extras --custom-compile-command "make lock" -o docker/glue/requirements.lock
	uv pip compile pyproject.toml --extra worker --extra warehouse --extra webapp --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-strip-extras --custom-compile-command "make lock" -o docker/webapp/requirements.lock
	uv pip compile pyproject.toml --extra webapp-build --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-strip-extras --custom-compile-command "make lock" -o docker/webapp/build.lock
	$(BIN)/python -m webapp lock
	uv pip compile bench/requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-strip-extras --custom-compile-command "make lock" -o bench/requirements.lock

clean: ## Stop the stack and remove its state (not the download cache)
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m glue.stack down; fi
	rm -rf .tapeline logs webapp/.build
