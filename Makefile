# Coach Relay. `make demo` shows the whole thing; `make test` proves it; `make help` lists the rest.
# Both need only Python 3.11 or newer; what else is missing is installed, or named with what to do about it.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TOOLS  := $(VENV)/.test-programs
# Node may live in the virtual environment.
WITH_NODE := PATH="$(abspath $(BIN)):$$PATH"

.PHONY: browser browser-pages rules fuzz interop-long bench-mls
.PHONY: help demo demo-page test verify fix bench lint types house lock clean setup

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## make the virtual environment and install everything into it

$(READY): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh deploy/setup.sh
	@touch $@

demo: $(READY) ## a coach and a client really meet: in the terminal, then side by side in your browser
	@$(BIN)/coach demo
	@if [ -t 0 ]; then VENV="$(VENV)" sh deploy/browser-files.sh && $(BIN)/coach demo --page; \
	else echo "In a browser, side by side: make demo-page"; fi

demo-page: $(READY) ## the browser's part alone: a portal's pages with a coach and a client, until Ctrl-C
	@VENV="$(VENV)" sh deploy/browser-files.sh
	@$(BIN)/coach demo --page

$(TOOLS): $(READY) deploy/test-programs.sh
	@VENV="$(VENV)" sh deploy/test-programs.sh
	@touch $@

PAGES := VENV="$(VENV)" sh deploy/browser-files.sh || echo "setup: what pages load could not be built; the tests that need it are skipped"

test: $(READY) $(TOOLS) ## every test (unit, conformance, end to end, in a real browser, faults, abuse)
	@$(PAGES)
	@$(WITH_NODE) $(BIN)/python -m pytest -n auto --dist loadfile

verify: $(READY) lint types house browser test ## everything that must hold before a change lands

lint: $(READY)
	@echo "== formatting and lint"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY)
	@echo "== types"
	@$(BIN)/mypy

house: $(READY)
	@echo "== layering"
	@$(BIN)/lint-imports

fix: $(READY) ## format, and mend what lint can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## measure speed against baselines taken in the same run
	@$(BIN)/python -m tests.bench

rules: $(READY) ## switch each check of the MLS package off in turn: its test must fail (minutes)
	@$(BIN)/python -m tests.mls.switch_off

fuzz: $(READY) ## coverage-guided fuzzing of the MLS package (make fuzz SECONDS=600)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	@$(BIN)/python -m tests.fuzz.mls_run $(or $(SECONDS),60)

interop-long: $(READY) ## thousands of epochs in step with ts-mls (INTEROP_SEED=x replays one)
	@INTEROP_STEPS=$(or $(STEPS),2000) $(BIN)/python -m pytest tests/interop -qs --timeout=0 -k whatever_happens

bench-mls: $(READY) ## MLS alone: messages, commits, joins by group size and suite, beside ts-mls
	@$(BIN)/python -m tests.bench --only mls --only mls-groups

browser: $(READY) $(TOOLS) ## build and check the browser's package
	@echo "== the browser's package"
	@export $(WITH_NODE); if command -v npm >/dev/null; \
	then cd client_sdk/browser && npm ci --no-audit --no-fund --loglevel=error && npm run --silent check; \
	else echo "npm is not here: the browser's package is not checked"; fi

browser-pages: $(READY) $(TOOLS) ## of the tests, those alone in which pages in Chromium and the Python SDK talk through the real relay
	@$(PAGES)
	@$(WITH_NODE) $(BIN)/python -m pytest -n auto --dist loadfile tests/browser

# What an image is built from: the same versions and hashes, less what only development needs.
PART_OF_LOCK := --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 -c requirements.lock

lock: ## bring requirements.lock up to the newest versions that pyproject.toml admits
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--all-extras --group dev --python-version 3.11 pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile $(PART_OF_LOCK) --extra relay --extra redis pyproject.toml -o deploy/relay.lock
	@echo hatchling | $(BIN)/uv pip compile $(PART_OF_LOCK) - -o deploy/build.lock

clean: ## remove the virtual environment and caches (asks first)
	@printf 'Remove %s and all caches? [y/N] ' "$(VENV)"; read a; [ "$$a" = y ] || exit 1
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
