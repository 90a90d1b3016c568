# make demo       set up, and style real music: jazz in the style of an orchestra
# make test       set up, then lint, types and the fast tests: at most five minutes
# make test-all   the slow tests, a wheel, and the lowest versions of all dependencies
# make coverage   all tests, counting the branches they take; at least 90 % of src
# make docs       write the generated parts of the documentation
# make listen     make examples/results and docs/listen.html, after a change of the sound
# make format     format the code

VENV   := .venv
BIN    := $(VENV)/bin
# The first interpreter that TensorFlow has wheels for, unless make is called with PYTHON=...
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
  $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
  && echo $$p && break; done)
WORKERS := 2

.PHONY: demo test test-all lint types tests tests-slow wheel-test test-minimum coverage docs listen format clean

DEMO := demo/jazz-as-orchestra
demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/audiostyle transfer examples/jazz.ogg examples/orchestra.ogg -o $(DEMO).wav \
	  --plot $(DEMO).png --report $(DEMO).html --force
	@echo "Sound:    $(DEMO).wav"
	@echo "Picture:  $(DEMO).png"
	@echo "Page:     $(DEMO).html (open it in a browser: keys 1, 2, 3 and space)"
	@echo "Next, with your own recordings:"
	@echo "  $(BIN)/audiostyle transfer my-song.mp3 my-style.mp3 -o out.wav --preview 10 --report out.html"

test: lint types tests

test-all: tests-slow wheel-test test-minimum

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m numpydoc lint $$(git ls-files 'src/*.py')

types: $(VENV)/.installed-dev
	$(BIN)/mypy

tests: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS)

tests-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow -n $(WORKERS)

wheel-test: $(VENV)/.installed-dev
	$(BIN)/python tools/wheel_test.py

test-minimum: $(VENV)/.installed-dev
	$(BIN)/python tools/minimum_versions.py

coverage: $(VENV)/.installed-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: $(VENV)/.installed-dev
	$(BIN)/python tools/cli_reference.py
	$(BIN)/python tools/api_reference.py
	$(BIN)/python tools/figures.py

listen: $(VENV)/.installed-dev
	$(BIN)/python tools/listen_page.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "audiostyle needs Python 3.10 to 3.13; none was found. Install one, or call make with PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf demo build dist .coverage* .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
