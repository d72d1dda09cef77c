# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test check bench lock clean

help:
	@echo "make run    set up, fill a demo gallery, recognise three photos and a video, keep serving"
	@echo "make test   set up, lint, check types, run every test"
	@echo "make check  lint, types and unit tests only"
	@echo "make bench  the short form of every benchmark, into bench/results/ (under ten minutes)"

run: $(VENV)/.demo
	@exec $(BIN)/python -m scripts.quickstart

test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/integration tests/e2e

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/unit

bench: $(VENV)/.bench
	$(BIN)/python -m bench

# After changing a requirements file: resolve anew and pin what was resolved.
lock:
	sh scripts/lock_requirements.sh "$(PYTHON)"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.demo: requirements-demo.txt requirements-core.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing the lean runtime into $(VENV) (a minute or two, once)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-demo.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt requirements-demo.txt requirements-core.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing the full runtime and the development tools into $(VENV) (a few minutes, once)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: requirements-bench.txt requirements-demo.txt requirements-core.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing the lean runtime and the benchmarks' peers into $(VENV) (a few minutes, once)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-demo.txt -r requirements-bench.txt
	@touch $@ $(VENV)/.demo
