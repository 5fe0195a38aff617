# Every target installs what it needs; only CPython 3.11+, git, make and gcc must be there.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROTOS := $(shell cd proto && find windowshop -name '*.proto' | sort)
KERNELS := services/recommender/domain/kernels
COMPILED := hatch_build.py $(wildcard $(KERNELS)/*.pyx $(KERNELS)/*.pxi)
CODE := hatch_build.py services gateway deploy clients bench tests docs

.PHONY: help setup lock proto proto-check docs docs-check format lint types imports test check run bench bench-demo bench-features bench-ingest bench-quality bench-reads bench-recommend bench-refresh bench-soak bench-start clean uncompiled

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}'

setup: $(STAMP) ## Install the locked dependencies into .venv

# What was compiled may be gone while all else is there: it lies beside its sources, and git ignores it.
$(STAMP): requirements.lock pyproject.toml $(COMPILED) $(if $(wildcard $(KERNELS)/*.so),,uncompiled)
	$(PYTHON) -c 'import sys; sys.exit("windowshop needs Python 3.11 or newer, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@echo "installing dependencies (a minute on a fresh machine) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

uncompiled:

lock: setup ## Resolve the dependencies of pyproject.toml anew into requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --no-emit-index-url --generate-hashes --quiet --upgrade -o requirements.lock

define generate
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto --python_out=$(1) --mypy_out=quiet:$(1) \
	  --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $(PROTOS)
	@find $(1)/windowshop -type d -exec touch {}/__init__.py \;
endef

proto: setup ## Generate code from the protos
	rm -rf proto/gen && mkdir -p proto/gen
	$(call generate,proto/gen)

proto-check: setup
	$(BIN)/buf lint proto
	@rm -rf $(VENV)/proto-fresh && mkdir -p $(VENV)/proto-fresh
	$(call generate,$(VENV)/proto-fresh)
	@diff -r -x __pycache__ proto/gen $(VENV)/proto-fresh || { echo "generated code is stale: run 'make proto'"; exit 1; }

docs: setup ## Generate the feature and metric references
	$(BIN)/python -m docs.generate

docs-check: setup
	$(BIN)/python -m docs.generate --check

run: setup ## Start everything on this machine: stores, services, gateway, demo shop
	@exec $(BIN)/python -m deploy.local

test: setup ## Run the tests against real servers, two files at a time; ARGS="-k name" to choose, one at a time
	$(BIN)/python -m pytest $(if $(ARGS),,-n 2 --dist loadfile) $(ARGS)

format: setup ## Format the code
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix --quiet $(CODE)

lint: setup
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

types: setup
	$(BIN)/mypy $(CODE)

imports: setup
	$(BIN)/lint-imports

check: lint types imports proto-check docs-check test ## Format, lint, types, import rules, generated files, tests

bench: setup ## Run all benches that follow but demo, soak and start, one after the other; last line is JSON
	$(BIN)/python -m bench

bench-demo: setup ## Measure features and recommendations of the demo shop, within a minute; last line is JSON
	$(BIN)/python -m bench demo $(ARGS)

bench-features: setup ## Measure feature reads beside Fabra and Feast, installing both; last line is JSON
	$(BIN)/python -m bench features $(ARGS)

bench-ingest: setup ## Measure writing events: rate, visibility, memory; last line is JSON
	$(BIN)/python -m bench ingest $(ARGS)

bench-quality: setup ## Measure recommendations over REST against what real households bought next; last line is JSON
	$(BIN)/python -m bench quality $(ARGS)

bench-reads: setup ## Measure processor time of reads within the feature server, within a minute; last line is JSON
	$(BIN)/python -m bench reads $(ARGS)

bench-recommend: setup ## Measure recommendations with 100,000 products and 200,000 users; ARGS="--growth --data FOLDER"; last line is JSON
	$(BIN)/python -m bench recommend $(ARGS)

bench-soak: setup ## Ten minutes of recommendations beside everything else; ARGS="--data FOLDER"; last line is JSON
	$(BIN)/python -m bench soak $(ARGS)

bench-refresh: setup ## Measure refresh cost with a million users of whom few are active; last line is JSON
	$(BIN)/python -m bench refresh $(ARGS)

bench-start: setup ## Measure how long `make run` takes with data present; last line is JSON
	$(BIN)/python -m bench start $(ARGS)

clean: ## Remove what was built, the bench's peers and the data of `make run`
	rm -rf $(VENV) bench/.venvs .windowshop .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f $(KERNELS)/*.so
