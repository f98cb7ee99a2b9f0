# Everything a person or a CI job does with a checkout. Needs git, make and Python 3.11 or newer, nothing else:
# each target sets up .venv itself, from the locked and hashed files in requirements/.

PYTHON ?= python3
BIN := .venv/bin
RECONCILER := $(BIN)/reconciler
LOCKED := .venv/.locked
READY := .venv/.ready
LINTERS := .venv/ci/.locked
EDITOR := .venv/editor/.locked
BROWSER := .venv/browser/.locked
LOWEST := .venv/lowest/.locked
DEMO := examples/quickstart
CODE := reconciler tests benchmarks

# The demo and the tests never talk to a real service, whatever the caller's shell is set up for.
unexport GLIDER_API_KEY GLIDER_BASE_URL
# Without bytecode on disk each of the hundreds of processes that tests start would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-all test-fast test-lowest check lint types layering lint-actions editor browser pictures format bench lock clean

help:
	@echo 'make demo    plan and apply an example against the embedded Glider'
	@echo 'make test    run the tests, on all cores'
	@echo 'make test-all  besides, more random histories and more kinds of faults at more moments, as .ci/run does'
	@echo 'make test-fast  those that need neither a process, a socket nor a long search: for while you edit'
	@echo 'make test-lowest  run all tests with the lowest versions that pyproject.toml allows'
	@echo 'make check   lint, format check, strict types, layering'
	@echo 'make lint-actions  check action.yml and the workflows; fetches 120 MB the first time'
	@echo 'make editor  fetch the language server of editors (needs npm), which a test then asks'
	@echo 'make browser  fetch what opens the report in Chromium (needs npm), for a test'
	@echo 'make pictures  draw the pictures of the docs anew, with Chromium'
	@echo 'make format  format the code and repair what the linter can repair'
	@echo 'make bench   measure against the targets (BENCH=--quick for a short run)'
	@echo 'make lock    bring requirements/ up to pyproject.toml (LOCK=--upgrade for newer versions)'
	@echo 'make clean   remove .venv, .demo and caches'
	@echo 'PYTHON=python3.13 make ... chooses the interpreter of a new .venv'

setup: $(READY)

# Two stamps, so that an edit of pyproject.toml does not install every dependency again. --clear makes the
# environment hold what the lock names and nothing older.
$(LOCKED): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "glider-reconciler needs Python 3.11 or newer, and '$(PYTHON)' is not; try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The last plan must be empty: with --detailed-exitcode it would end in 2, and so would the demo.
demo: $(READY)
	@rm -rf .demo && mkdir .demo
	$(call show,sandbox load $(DEMO)/sandbox.yaml --sandbox .demo/sandbox.db)
	$(call show,plan -f $(DEMO)/automation.yaml --sandbox .demo/sandbox.db --journal .demo/journal.db)
	$(call show,apply -f $(DEMO)/automation.yaml --sandbox .demo/sandbox.db --journal .demo/journal.db --auto-approve)
	$(call show,plan -f $(DEMO)/automation.yaml --sandbox .demo/sandbox.db --journal .demo/journal.db --detailed-exitcode)

define show
@printf '\n$$ reconciler %s\n' '$(1)'
@$(RECONCILER) $(1)
endef

# Two workers a core, because tests of processes and servers mostly wait; one that has nothing left takes over tests of
# another.
WORKERS = $(shell $(BIN)/python -c 'import os; print(2 * (os.cpu_count() or 1))')
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test: $(READY)
	@echo 'Left out: more of the same, such as random histories and kinds of faults; make test-all runs them, too.'
	$(PYTEST) -m 'not thorough'

test-all: $(READY)
	$(PYTEST)

test-fast: $(READY)
	$(PYTEST) -m 'not slow'

# An environment of its own beside that of the linters, with the lowest allowed version of each declared dependency.
$(LOWEST): requirements/lowest.txt pyproject.toml $(LOCKED)
	$(PYTHON) -m venv --clear .venv/lowest
	.venv/lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/lowest.txt
	.venv/lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test-lowest: $(LOWEST)
	$(PYTEST:$(BIN)/%=.venv/lowest/bin/%)

check: lint types layering

lint: $(READY)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: $(READY)
	$(BIN)/mypy

layering: $(READY)
	$(BIN)/python -m pytest -q tests/project/test_layering.py

# The linters, and act, get an environment of their own; it lies in .venv and goes when that is cleared.
$(LINTERS): requirements/ci.txt $(LOCKED)
	$(PYTHON) -m venv --clear .venv/ci
	.venv/ci/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
	  -r requirements/ci.txt
	@touch $@

# What editors check our files with, for tests/project/test_editor.py; needs Node 18 or newer. No script of it is run.
$(EDITOR): requirements/editor/package-lock.json $(LOCKED)
	@mkdir -p $(@D) && cp requirements/editor/*.json $(@D)
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent
	@touch $@

editor: $(EDITOR)

# What opens the report in Chromium, for tests/render/test_report_browser.py. No script of it is run, so it fetches no
# browser of its own.
$(BROWSER): requirements/browser/package-lock.json $(LOCKED)
	@mkdir -p $(@D) && cp requirements/browser/*.json $(@D)
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent
	@touch $@

browser: $(BROWSER)

# Whatever a picture shows stands beside it, and a test makes that anew.
pictures: $(READY)
	$(BIN)/python -m pytest -q tests/action/test_action_pictures.py tests/render/test_report_pictures.py --renew

WORKFLOWS = $(wildcard .github/workflows/*.yml examples/workflows/*.yml)

# shellcheck is on PATH for jactionlint, which runs it over every `run:`. The workflows of the examples are for
# repositories with other files, so their `paths:` match nothing here, and what they call lies elsewhere.
lint-actions: export PATH := $(CURDIR)/.venv/ci/bin:$(PATH)
lint-actions: $(LINTERS)
	zizmor --offline --no-config --no-progress --quiet --persona auditor --strict-collection action.yml $(WORKFLOWS)
	check-jsonschema --builtin-schema vendor.github-actions action.yml
	check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	jactionlint --no-online --strict-exit --ignore unmatched-paths-filter --ignore invalid-local-workflow action.yml $(WORKFLOWS)
	shellcheck .ci/run
	hadolint Containerfile

format: $(READY)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(READY)
	$(BIN)/python -m benchmarks.run $(BENCH)

# uv is fetched for the occasion, pinned: it resolves for every platform and Python at once, which pip can't. It
# reads PyPI alone, whatever the machine is set up for, and writes no address of an index.
UV_VERSION := 0.13.9
UV := env -u UV_INDEX_URL -u UV_DEFAULT_INDEX .venv/lock/bin/uv --no-config --quiet pip compile --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command 'make lock' $(LOCK)

lock:
	$(PYTHON) -m venv --clear .venv/lock
	.venv/lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) --extra postgres pyproject.toml --output-file requirements/run.txt
	$(UV) --extra postgres --group dev pyproject.toml --constraint requirements/run.txt --output-file requirements/dev.txt
	$(UV) --extra postgres --group dev --resolution lowest-direct pyproject.toml --output-file requirements/lowest.txt
	$(UV) --group ci --output-file requirements/ci.txt
	echo 'uv==$(UV_VERSION)' | $(UV) - --output-file requirements/uv.txt
	rm -rf .venv/lock

clean:
	rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
