# The two main commands are `make demo` and `make test`. Both set up what they need, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build of torch; `make TORCH_INDEX= …` installs the package index's default, on Linux the CUDA build.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell grep ^torch== constraints.txt)
# Each test file runs in one process, because its tests share fixtures and worker processes.
PARALLEL ?= --numprocesses auto --maxprocesses 4 --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

ORACLE_VENV ?= .venv-oracle
ORACLE_PIP = $(ORACLE_VENV)/bin/python -m pip --disable-pip-version-check install --quiet
UPSTREAM := $(ORACLE_VENV)/upstream
WAVTOKENIZER ?= $(UPSTREAM)/WavTokenizer
STABLE_AUDIO_TOOLS ?= $(UPSTREAM)/stable-audio-tools
STABLE_CODEC ?= $(UPSTREAM)/stable-codec
CODECS := focalcodec bigcodec moss speechtokenizer dualcodec
LYRA ?= $(shell $(BIN)/evalkit fetch lyra | sed 's/.*: //')

.PHONY: help demo test gate calibration test-slow test-models hub lint format fuzz docs notebooks bench oracle oracle-nemo \
	oracle-wavtokenizer oracle-taae oracle-codecs $(CODECS:%=oracle-%) oracle-qwen3_tts oracle-lyra \
	oracle-metrics oracle-training clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/.demo-ready ## set up, then score the built-in codec beside Opus and Codec 2
	$(BIN)/evalkit run --codec nanocodec --bitrate 1.1k --codec opus@6k --codec codec2@1.2k \
		--metrics offline-short,available --per-language 2 --output runs/demo --overwrite --save-audio
	@echo "Next: . $(BIN)/activate && evalkit report runs/demo --output report.html"

test: lint ## set up, then run lint, type checks and the fast tests, one process per core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

gate: $(VENV)/.demo-ready ## compare the built-in codec with ci/baseline.json
	$(BIN)/evalkit run --codec nanocodec@1.1k --metrics pesq-wb,estoi,mel-2048-80-ln1p,bitrate --no-cache \
		--output runs/gate --overwrite
	$(BIN)/evalkit gate runs/gate --baseline ci/baseline.json

calibration: $(VENV)/.demo-ready ## simulate how often intervals and tests err: a table, in minutes
	$(BIN)/python -m evalkit.stats.calibration --rows reports/examples/authors-demo/rows.csv

test-slow: $(VENV)/.slow-ready ## run the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m slow

fuzz: $(VENV)/.test-ready ## try 2,000 cases of damaged audio, lists, runs, caches, plugins, weights: FUZZ="--seed 1 --seconds 600"
	$(BIN)/python -m tests.fuzz $(FUZZ)

test-models: $(VENV)/.models-ready ## run the tests of metrics with a model, with every extra installed
	$(BIN)/python -m pytest tests/evalkit/metrics

hub: $(VENV)/.models-ready ## fetch everything from a local hub and run it, then again offline; logs in runs/hub
	EVALKIT_HUB_LOG=runs/hub OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "" tests/hub

lint: $(VENV)/.test-ready ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs-ready ## build the documentation into build/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Open build/site/index.html"

notebooks: $(VENV)/.docs-ready ## run the documentation's notebooks and store their outputs
	$(BIN)/python docs/notebooks/execute.py

format: $(VENV)/.test-ready ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test-ready ## time scoring against the metric packages alone, with cache and processes
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/reruns.py

oracle: oracle-nemo oracle-wavtokenizer oracle-taae oracle-codecs ## compare tokens and samples with upstream's own code (in a separate environment)

oracle-nemo: $(ORACLE_VENV)/.ready ## … NVIDIA NeMo's codec
	PYTHONPATH=. $(ORACLE_VENV)/bin/python tests/oracle/compare.py $(ORACLE)

oracle-wavtokenizer: $(ORACLE_VENV)/.ready $(WAVTOKENIZER) ## … WavTokenizer; WAVTOKENIZER=CHECKOUT, otherwise cloned
	$(ORACLE_VENV)/bin/python tests/oracle/wavtokenizer.py $(WAVTOKENIZER)

oracle-taae: $(ORACLE_VENV)/.ready $(STABLE_AUDIO_TOOLS) $(STABLE_CODEC) ## … TAAE; STABLE_AUDIO_TOOLS=, STABLE_CODEC=CHECKOUT
	$(ORACLE_VENV)/bin/python tests/oracle/taae.py $(STABLE_AUDIO_TOOLS) $(STABLE_CODEC)

oracle-codecs: oracle-qwen3_tts $(CODECS:%=oracle-%) ## … the codecs of speech LLMs, or one of them: oracle-NAME

$(CODECS:%=oracle-%): oracle-%: $(ORACLE_VENV)/.ready $(UPSTREAM)/%
	@$(ORACLE_PIP) --no-deps torchaudio==2.11.0
	$(ORACLE_VENV)/bin/python tests/oracle/$*.py $(UPSTREAM)/$*

oracle-qwen3_tts: $(ORACLE_VENV)/.ready $(UPSTREAM)/Qwen3-TTS
	@$(ORACLE_PIP) --no-deps --target $(UPSTREAM)/transformers-4.57 transformers==4.57.3 huggingface_hub==0.36.0 \
		tokenizers==0.22.1
	PYTHONPATH=$(UPSTREAM)/transformers-4.57 $(ORACLE_VENV)/bin/python tests/oracle/qwen3_tts.py $(UPSTREAM)/Qwen3-TTS

oracle-lyra: $(ORACLE_VENV)/.ready ## … Lyra's published files in LiteRT; LYRA=FOLDER with them
	@$(ORACLE_PIP) ai-edge-litert==2.3.0
	$(ORACLE_VENV)/bin/python tests/oracle/lyra.py $(LYRA)

oracle-metrics: $(ORACLE_VENV)/.ready $(addprefix $(UPSTREAM)/,SpeechMOS UniSpeech s3prl) ## … the networks of metrics
	@$(ORACLE_PIP) --no-deps torchaudio==2.11.0 speechbrain==1.1.2 hyperpyyaml ruamel.yaml
	PYTHONPATH=. $(ORACLE_VENV)/bin/python tests/oracle/metrics.py $(UPSTREAM) tests/evalkit/metrics/golden

oracle-training: $(ORACLE_VENV)/.ready ## record NeMo's losses and discriminators for the tests
	PYTHONPATH=. $(ORACLE_VENV)/bin/python tests/oracle/training.py tests/nanocodec/golden

$(ORACLE_VENV)/.ready: tests/oracle/requirements.txt nanocodec/_kernels.c
	@test -x $(ORACLE_VENV)/bin/python || $(PYTHON) -m venv $(ORACLE_VENV)
	@echo "Installing NeMo into $(ORACLE_VENV): a few minutes"
	@$(ORACLE_PIP) --constraint constraints.txt torch
	@$(ORACLE_PIP) --no-deps nemo-toolkit==3.0.0
	@$(ORACLE_PIP) --requirement tests/oracle/requirements.txt
	@$(ORACLE_PIP) --no-deps --editable .
	@touch $@

$(UPSTREAM)/WavTokenizer: AT := jishengpeng/WavTokenizer 5cf440d91ac420ca338f117b7003a77450d64730
$(UPSTREAM)/stable-audio-tools: AT := Stability-AI/stable-audio-tools 50049e379e2fe8e35bffc99e57f23ade1c3471b7
$(UPSTREAM)/SpeechMOS: AT := tarepan/SpeechMOS ed25eacbfa42b99156c36ebec67a733b5dbb9b79
$(UPSTREAM)/UniSpeech: AT := microsoft/UniSpeech 40d322798fba7fbaef8c882e04ac06ae5e784435
$(UPSTREAM)/s3prl: AT := s3prl/s3prl ec8064b5889f81ca460fbe2c094ce576a6f120b7
$(UPSTREAM)/Qwen3-TTS: AT := QwenLM/Qwen3-TTS 022e286b98fbec7e1e916cb940cdf532cd9f488e
$(UPSTREAM)/focalcodec: AT := lucadellalib/focalcodec 912b7f2c0cd43d54a8aed296bbcc925dec7d4ea3
$(UPSTREAM)/bigcodec: AT := Aria-K-Alethia/BigCodec 09845ab1f5bc7a3d1589c16de820ef15bc2afefe
$(UPSTREAM)/moss: AT := OpenMOSS/MOSS-Audio-Tokenizer 56df9eeb88f7236419dbf6328cd2e51f4dc21eeb
$(UPSTREAM)/speechtokenizer: AT := ZhangXInFD/SpeechTokenizer 30c96fb32a9fc06a2258c98119e237def051e46c
$(UPSTREAM)/dualcodec: AT := jiaqili3/DualCodec 5e8076453448089a0089bb2620148366dcfafa76
$(UPSTREAM)/stable-codec: AT := Stability-AI/stable-codec 853554419944dbec11c39a29cf803e492aade836
$(UPSTREAM)/%:
	@rm -rf $@.part && git init --quiet $@.part && cd $@.part && \
		git fetch --quiet --depth 1 https://github.com/$(firstword $(AT)) $(lastword $(AT)) && \
		git checkout --quiet FETCH_HEAD && mv ../$(@F).part ../$(@F) || \
		{ echo "Cannot clone $(AT): 'make help' shows how to give a checkout instead"; exit 1; }

clean: ## remove the virtual environments, runs and caches
	rm -rf $(VENV) .venv-oracle runs .pytest_cache .mypy_cache .ruff_cache *.egg-info

$(VENV)/.demo-ready: pyproject.toml constraints.txt nanocodec/_kernels.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "evalkit needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || { echo "1/4 Creating the environment $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@test -z "$(TORCH_INDEX)" || $(BIN)/python -c 'import torch' 2>/dev/null || \
		ci/set-up $(VENV) "2/4 Installing the CPU build of torch" --retries 0 --timeout 5 --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null || \
		echo "2/4 Cannot reach $(TORCH_INDEX): torch will be installed with the rest"
	@ci/set-up $(VENV) "3/4 Installing evalkit and its dependencies" --constraint constraints.txt --editable '.[classical,visqol]'
	@ci/set-up $(VENV) "4/4 Installing the speaker model Resemblyzer" --constraint constraints.txt --no-deps resemblyzer webrtcvad-wheels  # --no-deps: only what evalkit uses of its dependencies
	@touch $@

$(VENV)/.test-ready: $(VENV)/.demo-ready
	@echo "Installing the test dependencies"
	@$(PIP) --editable '.[classical,dev]'
	@$(PIP) --no-deps distillmos xls-r-sqa  # --no-deps: they require more than evalkit uses
	@touch $@

$(VENV)/.slow-ready: $(VENV)/.test-ready
	@$(PIP) --editable '.[classical,dev,ray]'
	@touch $@

$(VENV)/.models-ready: $(VENV)/.test-ready
	@$(PIP) --editable '.[classical,dev,models,dnsmos,nisqa,asr,scoreq]'
	@touch $@

$(VENV)/.docs-ready: $(VENV)/.demo-ready
	@$(PIP) --editable '.[classical,docs]'
	@touch $@
