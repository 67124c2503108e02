# `make` alone lists the commands. Works with GNU make 3.81 and newer.
# PYTHON=/path/to/python selects the interpreter, VENV=folder another virtual environment,
# ARGS="…" is passed to the program.

.DEFAULT_GOAL := help
VENV ?= .venv
export PYTHON VENV
python := $(VENV)/bin/python
install := @sh requirements/install
# A process per core. A file's tests stay together, because they share a server.
parallel := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help run test check browser-test services-test clients-test postgres-test chaos bench screenshots lock clean

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | awk -F '\t' '{ printf "make %-14s %s\n", $$1, $$2 }'

run: ## Start Chatsite on http://127.0.0.1:8000 (ARGS="--port 9000")
	$(install) run
	@exec $(python) manage.py serve $(ARGS)

test: ## Run all tests; those that need a missing program are skipped and reported (ARGS="-k name")
	$(install) test
	@$(python) -m pytest $(parallel) $(ARGS)

check: ## Lint, formatting, types, architecture: the checks of pre-commit and CI
	$(install) test
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	$(python) -m pytest -q tests/test_architecture.py

browser-test: ## Run the tests that use Chromium
	$(install) test
	@$(python) -m pytest -m browser $(ARGS)

chaos: ## Run the chaos scenarios at full size and print a table (docs/chaos.md; ARGS="kill --seed 7")
	$(install) test
	@$(python) -m tests.chaos $(ARGS)

services-test: ## Run the tests that use nginx, PostgreSQL and Redis
	$(install) test
	@$(python) -m pytest -m services $(ARGS)

postgres-test: ## Run the database tests on a private PostgreSQL instead of SQLite
	$(install) test
	@$(python) -m tests.support.services $(python) -m pytest -m "database and not browser and not services" $(ARGS)

clients-test: ## Run public clients and test suites of the API against a server (.venv-clients)
	$(install) test
	$(install) clients
	@$(python) -m pytest -m clients tests/clients $(ARGS)

bench: ## Run the benchmarks and print tables (benchmarks/README.md)
	$(install) test
	@$(python) -m benchmarks $(ARGS)

screenshots: ## Take the screenshots of the README again
	$(install) test
	@$(python) docs/screenshots/take.py $(ARGS)
	@$(python) docs/screenshots/take_review.py

lock: ## Resolve pyproject.toml into the lock files (ARGS=--upgrade)
	@command -v uv >/dev/null || { echo "make lock needs uv: pipx install uv, or pip install uv" >&2; exit 1; }
	$(compile) pyproject.toml -o requirements/base.txt
	$(compile) pyproject.toml --extra scale -o requirements/scale.txt
	$(compile) pyproject.toml --extra scale --extra bucket -o requirements/bucket.txt
	$(compile) pyproject.toml --extra scale --extra bucket --extra dev -o requirements/dev.txt
	$(compile) requirements/model.in --no-deps -o requirements/model.txt
	$(compile) requirements/clients.in --override requirements/clients.override -o requirements/clients.txt

# No annotations, headers or index addresses: the files name packages and hashes, and no host.
compile := uv pip compile --quiet --universal --python-version 3.12 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header $(ARGS)

clean: ## Remove .venv and caches; data is kept
	rm -rf .venv* .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
