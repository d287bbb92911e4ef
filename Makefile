# Two commands matter: `make demo` and `make test`. Both set up what they need, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test test-slow lint format bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo-ready ## set up and run the main job: the built-in codec beside Opus and Codec2
	$(BIN)/evalkit run --codec nanocodec --bitrate 1.1k --codec opus@6k --codec codec2@1.2k \
		--output runs/demo --overwrite --save-audio

test: lint ## set up and run lint, type checks and the fast tests
	$(BIN)/python -m pytest

test-slow: $(VENV)/.test-ready ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.test-ready ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test-ready ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test-ready ## evalkit's scoring beside calling the metric packages directly
	$(BIN)/python benchmarks/scoring.py

clean: ## remove the virtual environment, runs and caches
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache *.egg-info

$(VENV)/.demo-ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "evalkit needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): a few minutes the first time"
	@$(PIP) --editable '.[classical]'
	@touch $@

$(VENV)/.test-ready: $(VENV)/.demo-ready
	@echo "Installing what the tests need"
	@$(PIP) --editable '.[classical,dev]'
	@touch $@
