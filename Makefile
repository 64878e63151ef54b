# Everything a newcomer types: `make` alone lists the targets.
#
# .venv/.stamp stands for a finished set-up, so a second run installs nothing. A set-up that
# was cut short leaves .venv/.unfinished behind and is begun anew: a package that pip was
# copying at that moment can look installed and not be whole. Downloads come from pip's cache.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-cluster lint ui app lock clean

# The versions in requirements.lock exist for these Pythons.
SUPPORTED = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
VENV_PYTHON = .venv/bin/python
PORT ?= 5000
TESTED_WITH_RAY = hydra-ray-launcher==1.2.2 ray==2.60.0 joblib==1.5.3 cloudpickle==2.2.1
SYNTHESIZER = tinysoundfont==0.3.7
PYTEST = OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -q -n auto --maxprocesses 8

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: .venv/.stamp ## set up, then dream the embedded excerpts toward a flute
	@$(VENV_PYTHON) main.py task=dream target=flute
	@echo "Open the page above in a browser to hear and see the dreams."
	@echo "Tracking store: mlruns/mlflow.db and mlruns/artifacts; browse it with: make ui"

test: .venv/.stamp ## set up, then run the tests
	@$(PYTEST)

test-slow: .venv/.stamp ## run the tests marked slow
	@$(PYTEST) -m slow

# Ray is 240 MB, so it is no part of the set-up, and it brings an older joblib and cloudpickle: `make
# clean` takes them away. Slurm and PostgreSQL are Debian's packages; what is not installed is skipped.
test-cluster: .venv/.stamp ## run the tests on Slurm, Ray and a tracking server
	@$(VENV_PYTHON) -m pip install --quiet $(TESTED_WITH_RAY)
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -q -m slow -rs tests/cluster

lint: .venv/.stamp ## check style, types and the direction of imports
	$(VENV_PYTHON) -m ruff check
	$(VENV_PYTHON) -m ruff format --check
	$(VENV_PYTHON) -m pyright
	.venv/bin/lint-imports --no-logo

# One worker and no job runner: 2 processes and 0.4 GB instead of 10 and 1.3 GB.
ui: .venv/.stamp ## MLflow UI of all runs on http://127.0.0.1:5000 (PORT=...)
	@$(VENV_PYTHON) -c 'from irdream.tracking import create_store; create_store("mlruns")'
	@echo "open http://127.0.0.1:$(PORT)/#/experiments?workflowType=machine_learning"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true PYTHONWARNINGS=ignore \
		$(VENV_PYTHON) -m mlflow ui --host 127.0.0.1 --port $(PORT) --workers 1 \
		--backend-store-uri sqlite:///mlruns/mlflow.db --default-artifact-root mlruns/artifacts

app: export GOMP_SPINCOUNT ?= 10000
app: .venv/.stamp ## dream your own sounds in a browser, on http://127.0.0.1:7860
	@$(VENV_PYTHON) -m irdream.app

# Keeps the versions that the lock file names, adds what pyproject.toml newly asks for and
# drops what nothing needs any more. To upgrade a package, delete its line first.
lock: requirements.lock ## bring requirements.lock up to date with pyproject.toml
	rm -rf build/lock
	"$(PYTHON)" -m venv build/lock
	build/lock/bin/python -m pip install --constraint requirements.lock \
		--editable ".[cli,dev,joblib]" "setuptools>=77"
	{ sed -n '/^#/p' requirements.lock; \
		build/lock/bin/python -m pip freeze --all --exclude pip --exclude-editable \
		| sed 's/+cpu$$//'; } > build/requirements.lock
	mv build/requirements.lock requirements.lock
	rm -rf build

clean: ## remove the environment and caches; keeps data/, outputs/ and mlruns/
	rm -rf .venv/.stamp .venv build .pytest_cache .ruff_cache .import_linter_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The synthesizer asks for PyAudio, which has to be compiled and only plays through a sound card; so
# it is installed without.
.venv/.stamp: requirements.lock pyproject.toml
	@"$(PYTHON)" -c '$(SUPPORTED)' || { echo "Python 3.11, 3.12 or 3.13 is needed:" \
		"install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test ! -e .venv/.unfinished || find .venv -mindepth 1 ! -name .unfinished -delete
	@mkdir -p .venv && touch .venv/.unfinished
	@test -e .venv/pyvenv.cfg || "$(PYTHON)" -m venv .venv
	$(VENV_PYTHON) -m pip install --disable-pip-version-check --requirement requirements.lock
	$(VENV_PYTHON) -m pip install --disable-pip-version-check --no-deps --no-build-isolation \
		--editable .
	$(VENV_PYTHON) -m pip install --disable-pip-version-check --no-deps "$(SYNTHESIZER)"
	@$(VENV_PYTHON) -m irdream.repair_torchaudio
	@rm .venv/.unfinished && touch .venv/.stamp
