# All that a fresh checkout needs: git, make and Python 3.11 or newer. Every target installs
# what requirements.txt pins into .venv first, once.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

# The shell in which DVC runs the stages must find this environment's python first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Nothing leaves the machine unasked. For a profile whose models are on a hub, once:
# make repro HF_HUB_OFFLINE=0
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY = 1
export MLFLOW_DISABLE_TELEMETRY = true
export DVC_NO_ANALYTICS = 1
export DO_NOT_TRACK = 1

# Two thread pools on few cores slow each other down.
export TOKENIZERS_PARALLELISM = false

.DEFAULT_GOAL := help
.PHONY: help repro test faults bench check ui distributed-smoke

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(INSTALLED) ## rebuild what a change invalidates, then the report
	dvc repro
	python -m stages.timings
	@echo "report: $(CURDIR)/reports/index.html"

test: $(INSTALLED) ## all tests, with a small run of the whole route (minutes)
	python -m pytest -n 2 --dist loadfile

KILLS ?= 20
faults: $(INSTALLED) ## kill the dear stages KILLS times each and compare bytes (a quarter of an hour)
	python -m pytest tests/test_faults.py --kills $(KILLS) -n 2 -k ends_in_the_same_bytes

check: $(INSTALLED) ## format, lint, types
	ruff format --check .
	ruff check .
	mypy

ui: $(INSTALLED) ## MLflow's pages on this machine only: runs, metrics, digests
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	mlflow ui --backend-store-uri sqlite:///mlflow.db --workers 1 --host 127.0.0.1

distributed-smoke: $(INSTALLED) ## DeepSpeed on two CPU ranks gives the losses of one process
	python -m stages.distributed_smoke

# Each in a process of its own, one after the other: they would slow each other down. c9 runs the
# pipeline several times, so it gets one round.
BENCHES ?= c1 c2 c3 c4 c5 c6 c7 c8 c9
bench: $(INSTALLED) ## our ways beside naive and strong ones, on this CPU (an hour)
	for id in $(BENCHES); do \
	  rounds=3; if [ $$id = c9 ]; then rounds=1; fi; \
	  python -m stages.benchmarks $$id --rounds $$rounds --json reports/benchmarks/$$id.json || exit; \
	done
	python -m stages.benchmarks --table reports/benchmarks.md

$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is missing or older than 3.11. Name a newer one: make PYTHON=python3.12"; \
	  exit 1; }
	@$(VENV)/bin/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-input \
	  --requirement requirements.txt
	@touch $(INSTALLED)
