# Two commands matter: `make demo` and `make test`. Both set up what they need, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test gate test-slow lint format bench oracle oracle-training oracle-wavtokenizer clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/.demo-ready ## set up and run the main job: the built-in codec beside Opus and Codec2
	$(BIN)/evalkit run --codec nanocodec --bitrate 1.1k --codec opus@6k --codec codec2@1.2k \
		--output runs/demo --overwrite --save-audio

test: lint ## set up and run lint, type checks and the fast tests
	$(BIN)/python -m pytest

gate: $(VENV)/.demo-ready ## hold the built-in codec to ci/baseline.json
	$(BIN)/evalkit run --codec nanocodec@1.1k --metrics pesq-wb,estoi,mel-2048-80-ln1p,bitrate --no-cache \
		--output runs/gate --overwrite
	$(BIN)/evalkit gate runs/gate --baseline ci/baseline.json

test-slow: $(VENV)/.slow-ready ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.test-ready ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test-ready ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test-ready ## scoring beside calling the metric packages directly; what the cache and processes give
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/reruns.py

oracle: .venv-oracle/.ready ## NVIDIA NeMo's own codec beside ours: same tokens, same samples? (its own environment)
	PYTHONPATH=. .venv-oracle/bin/python tests/oracle/compare.py $(ORACLE)

oracle-training: .venv-oracle/.ready ## NeMo's losses and discriminators, written down for the tests
	PYTHONPATH=. .venv-oracle/bin/python tests/oracle/training.py tests/nanocodec/golden

oracle-wavtokenizer: $(VENV)/.test-ready ## WavTokenizer's own code beside ours: make … WAVTOKENIZER=CHECKOUT
	$(BIN)/python tests/oracle/wavtokenizer.py $(WAVTOKENIZER)

.venv-oracle/.ready: tests/oracle/requirements.txt
	@test -x .venv-oracle/bin/python || $(PYTHON) -m venv .venv-oracle
	@echo "Installing NeMo into .venv-oracle: a few minutes"
	@.venv-oracle/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt torch
	@.venv-oracle/bin/python -m pip --disable-pip-version-check install --quiet --no-deps nemo-toolkit==3.0.0
	@.venv-oracle/bin/python -m pip --disable-pip-version-check install --quiet --requirement tests/oracle/requirements.txt
	@touch $@

clean: ## remove the virtual environment, runs and caches
	rm -rf $(VENV) .venv-oracle runs .pytest_cache .mypy_cache .ruff_cache *.egg-info

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

$(VENV)/.slow-ready: $(VENV)/.test-ready
	@$(PIP) --editable '.[classical,dev,ray]'
	@touch $@
