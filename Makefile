# Everything a newcomer runs. Needs Python 3.11 or newer with pip, and make; the rest is set up in .venv.

PYTHON ?= python3
UV := .tools/bin/uv
BIN := .venv/bin
READY := .venv/.ready
PACKAGES := ledger trust engine mandates bazaar agentnode

.PHONY: help setup demo up check test interop tck prove bench lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /	/' | expand -t 12

setup: $(READY) ## make .venv with everything, hashes checked

$(UV):
	@echo "fetching uv, once"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .tools uv

$(READY): requirements.lock pyproject.toml | $(UV)
	@echo "installing the locked dependencies into .venv (about 20 s the first time)"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## two agents, a mandate, a payment and its proof, in under a minute: make demo ["your prompt"]
	@$(BIN)/agentnode demo $${PROMPT:+"$$PROMPT"}

up: $(READY) ## run a node on http://127.0.0.1:8402
	@$(BIN)/agentnode up

check: $(READY) ## lint, format, types, imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

test: $(READY) ## the whole test suite, Python only: SQLite for all, PostgreSQL from its wheel
	@$(BIN)/pytest tests --ignore=tests/interop -n 4 --dist loadfile --no-loadscope-reorder

interop: $(READY) ## other people's clients, and the contracts rebuilt: needs npm once; make interop X402A2A=DIR
	@X402A2A=$(X402A2A) $(BIN)/pytest tests/interop -rs

tck: $(READY) ## the official A2A suites against the example agent: make tck TCK=DIR TCK03=DIR
	@TCK=$(TCK) TCK03=$(TCK03) $(BIN)/python -m tests.interop.tck

prove: $(READY) ## the long rounds: more workers, more crashes, both databases
	@AGENTNODE_PROVE=1 $(BIN)/pytest tests --ignore=tests/interop --timeout 1200 -rs -n 4 --dist loadfile --no-loadscope-reorder

bench: $(READY) ## figures beside a named rival, as JSON too
	@$(BIN)/python -m benchmarks

lock: $(UV) ## renew requirements.lock from pyproject.toml
	@$(UV) pip compile pyproject.toml --extra chain --group dev --prerelease if-necessary-or-explicit --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o requirements.lock

clean: ## remove what setup and tests made
	@rm -rf .venv .tools .interop .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis

# `make demo "your prompt"`: make takes the prompt for further goals, which do nothing.
ifeq (demo,$(firstword $(MAKECMDGOALS)))
export PROMPT ?= $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
%:
	@:
endif
