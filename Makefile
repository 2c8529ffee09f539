# What a person types. Needs Python 3.11 or later and make; everything else goes into $(VENV).
# What needs many environments is in noxfile.py; .ci/run calls both.

VENV ?= .venv
ifndef PYTHON
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11; do "$$name" -c \
	'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$name" && break; done)
endif
WHEEL ?=    # a built wheel to test in place of the checkout
JOBS ?= 2   # processes that run the tests
COVERAGE ?= # percent of lines and branches that the tests must reach; empty: not measured
STORE ?= file
PYTHONS ?= 3.11 3.12 3.13
ARGS ?=

BIN := $(VENV)/bin
NODE_MODULES := tests/interop/node_modules/.package-lock.json
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# $(call install,extras,groups)
install = $(PIP) install $(if $(strip $(WHEEL)),'$(strip $(WHEEL))[$(1)]',-e '.[$(1)]') $(addprefix --group ,$(2))
comma := ,

# `python FILE` would put FILE's folder first, and partner_auth/requests.py would pose as requests.
export PYTHONSAFEPATH := 1
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint format mypy pyright complete imports docs bench matrix niquests lowest packaging wheel dist clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo
	@echo "Settings: PYTHON=$(PYTHON) VENV=$(VENV) STORE=file|vault|aws JOBS=$(strip $(JOBS)) COVERAGE= ARGS="

demo: $(VENV)/.installed-$(STORE) ## see requests signed while the secret is rotated; STORE=vault or aws
	$(BIN)/python examples/demo.py --store $(STORE) $(ARGS)

test: $(VENV)/.installed-test $(NODE_MODULES) ## run the whole suite; COVERAGE=90 measures, ARGS="-k name" selects
	$(BIN)/pytest -n $(strip $(JOBS)) --dist loadfile \
		$(if $(strip $(COVERAGE)),--cov --cov-report=term --cov-fail-under=$(strip $(COVERAGE))) $(ARGS)

check: lint format mypy pyright imports ## lint, format, types, who imports whom (make -k shows all)

lint: $(VENV)/.installed-check
	$(BIN)/ruff check

format: $(VENV)/.installed-check
	$(BIN)/ruff format --check

mypy: $(VENV)/.installed-check
	$(BIN)/mypy --strict

pyright: $(VENV)/.installed-check
	$(BIN)/pyright

complete: $(VENV)/.installed-check # every public name has a type that users' checkers can see
	$(BIN)/pyright --ignoreexternal --verifytypes partner_auth

imports: $(VENV)/.installed-check
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs ## build the documentation into site/
	$(BIN)/python .ci/docstrings.py
	$(BIN)/zensical build --strict --clean

bench: $(VENV)/.installed-test ## measure: signing, import, memory, store reads
	for script in $$(grep -l __main__ benchmarks/*.py); do \
		PYTHONSAFEPATH= $(BIN)/python -m "benchmarks.$$(basename "$$script" .py)" $(ARGS) || exit 1; done

matrix: $(VENV)/.installed-dev $(NODE_MODULES) ## run the suite on each of PYTHONS
	$(BIN)/nox --session $(addprefix tests-,$(PYTHONS)) -- -n $(strip $(JOBS)) --dist loadfile $(ARGS)

niquests: $(VENV)/.installed-dev # its doors, in an environment of their own
	$(BIN)/nox --session niquests

lowest: $(VENV)/.installed-dev # clients and stores in the oldest versions that users may have
	$(BIN)/nox --session lowest

packaging: $(VENV)/.installed-dev # the wheel with each extra alone, in an environment of its own
	$(BIN)/nox --session packaging

wheel: $(VENV)/.pip ## build dist/*.whl
	rm -rf dist
	$(PIP) wheel --no-deps --wheel-dir dist .

dist: $(VENV)/.pip # build dist/*.whl and dist/*.tar.gz, as a release does
	rm -rf dist
	$(PIP) install 'hatchling>=1.27'
	$(BIN)/python -m hatchling build -d dist

clean: ## remove what was made here
	rm -rf $(VENV) .nox dist build site tests/interop/node_modules .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis .import_linter_cache .cache .coverage

$(VENV)/.pip:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or later is wanted: make PYTHON=/path/to/it" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install 'pip>=25.1' # the first that knows --group
	@touch $@

$(VENV)/.installed-file: pyproject.toml $(VENV)/.pip
	$(call install,requests$(comma)httpx$(comma)httpx2,)
	@touch $@

$(VENV)/.installed-vault $(VENV)/.installed-aws: pyproject.toml $(VENV)/.pip
	$(call install,all,stores)
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.pip
	$(call install,all,test)
	@touch $@

$(VENV)/.installed-check: pyproject.toml $(VENV)/.pip
	$(call install,all,test typing lint)
	@touch $@

$(VENV)/.installed-docs: pyproject.toml $(VENV)/.pip
	$(call install,all,docs)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.pip
	$(call install,all,dev)
	@touch $@

# Without Node the interop tests skip and say so; with CI=true they fail.
$(NODE_MODULES): tests/interop/package.json
	@if command -v npm >/dev/null; then \
		npm install --prefix tests/interop --no-package-lock --no-audit --no-fund --loglevel=error; \
	else echo "make: no npm, so the libraries of Node can't be installed" >&2; fi || test "$$CI" != true
