# siproxd_tw: `make run` starts the proxy, `make test` proves it. Both set up .venv by themselves.
PYTHON ?= python3
VENV   ?= .venv
CONFIG ?=
SECONDS ?= 60
BIN     = $(VENV)/bin

.PHONY: help run test unit packaging network bench lint docs packages clean
.DEFAULT_GOAL := help

help: ## show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "siproxd_tw needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "$(PYTHON) has no venv module: install it (Debian: apt-get install python3-venv) and try again"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make $(VENV) here"; exit 1; }

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.run

run: $(VENV)/.run ## start the proxy here (CONFIG=FILE: with that siproxd.conf)
	@$(BIN)/twistd -n --pidfile= siproxd $(if $(CONFIG),--config $(CONFIG))

test: lint unit packaging network ## everything: linters, unit tests, wheel, real phones in network namespaces

unit: $(VENV)/.dev ## tests without a network
	$(BIN)/pytest -q -m "not network and not packaging"

packaging: $(VENV)/.dev ## twistd finds the proxy in a wheel and in an editable install
	$(BIN)/pytest -q -m packaging

network: $(VENV)/.dev packages ## real phones in network namespaces (root)
	$(BIN)/pytest -q -m network

bench: $(VENV)/.dev packages ## signalling beside Kamailio, ten minutes (root; QUICK=1: two; CHECKOUT=DIR: of that one)
	$(BIN)/python -m bench.sip $(if $(QUICK),--quick) $(if $(CHECKOUT),--checkout $(CHECKOUT))

fuzz: $(VENV)/.dev ## let atheris look for octets that the parser cannot stand (SECONDS=60)
	$(BIN)/pip install -q --disable-pip-version-check atheris
	$(BIN)/python -m fuzz .fuzz -max_total_time=$(SECONDS) -artifact_prefix=.fuzz/ -timeout=10

packages: ## install the Debian packages that the network tests call
	@tests/network/packages.sh

lint: $(VENV)/.dev ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev ## write the generated pages of docs/
	$(BIN)/python docs/generate.py

clean: ## remove what was built
	rm -rf $(VENV) build dist *.egg-info
