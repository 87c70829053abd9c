# Every target makes what it needs; a fresh machine needs git, make and Python 3.11+ with venv.
# Arguments go through ARGS:  make test ARGS='-k rollout'   make demo ARGS='--help'

.DEFAULT_GOAL := help
.PHONY: help demo test scenarios check lint format bench soak docs clean venv venv-dev
ARGS ?=
BIN := .venv/bin

help: ## Show this
	@echo "make TARGET [ARGS='…']"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1  \2/p' $(MAKEFILE_LIST)

demo: venv ## Watch it work: manifests in git become running HTTP servers, then a rolling update
	@$(BIN)/reconciler demo $(ARGS)

test: venv-dev ## Run all tests; DOCKER=install (root, Debian) installs and starts a Docker engine for them
	@scripts/run-tests $(ARGS)

scenarios: venv-dev ## Run the scheduler's scenarios; ARGS=--update-scenarios writes what they expect anew
	@$(BIN)/pytest tests/scenarios $(ARGS)

check: venv-dev ## The fast gate: lint, format, types, import layers, tidiness
	@scripts/check

lint: venv-dev ## Only ruff
	@$(BIN)/ruff check $(ARGS)
	@$(BIN)/ruff format --check

format: venv-dev ## Let ruff mend and format what it can
	@$(BIN)/ruff check --fix-only $(ARGS)
	@$(BIN)/ruff format

bench: venv-dev ## Run the benchmarks
	@scripts/run-bench $(ARGS)

soak: venv-dev ## Kill, restart and change things at random, then count what is left; MINUTES=30
	@scripts/run-soak $(ARGS)

docs: venv-dev ## Check the docs: links, commands, and every block of README that can run
	@$(BIN)/pytest tests/docs tests/test_tidy.py $(ARGS)

clean: ## Remove everything that make made, the environment and the downloads included
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist htmlcov
	@rm -f .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@scripts/make-venv runtime

venv-dev:
	@scripts/make-venv dev
