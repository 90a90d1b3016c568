# make demo   set up, and style one bundled clip with another
# make test   set up, then lint, types, tests: what CI runs
# make wheel-test  build a wheel, install it elsewhere, and style a second with it; CI runs it, too
# make test-minimum   a part of the tests, with the lowest versions of everything; CI, too
# make coverage    the tests again, counting the branches they take; at least 90 % of src
# make mutants     change single operations, and see whether a test notices; a quarter of an hour
# make docs   write the generated parts of the documentation anew

VENV   := .venv
BIN    := $(VENV)/bin
# The first interpreter that TensorFlow has wheels for; or say make PYTHON=...
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
  $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
  && echo $$p && break; done)

.PHONY: demo test test-minimum lint types tests wheel-test coverage mutants docs format clean

demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/audiostyle transfer examples/pluck.flac examples/strings.flac \
	  -o demo/pluck-in-the-style-of-strings.wav --plot demo/pluck-in-the-style-of-strings.png --force
	@echo "Listen to demo/pluck-in-the-style-of-strings.wav (the picture lies beside it)."

test: lint types tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

tests: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

wheel-test: $(VENV)/.installed-dev
	$(BIN)/python tools/wheel_test.py

coverage: $(VENV)/.installed-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

mutants: $(VENV)/.installed-dev
	$(BIN)/python tools/mutants.py

test-minimum: $(VENV)/.installed-dev
	$(BIN)/python tools/minimum_versions.py

docs: $(VENV)/.installed-dev
	$(BIN)/python tools/cli_reference.py
	$(BIN)/python tools/api_reference.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "audiostyle needs Python 3.10 to 3.13; none was found. Install one, or say make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf demo build dist .coverage* .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
