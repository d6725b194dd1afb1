# `make demo` and `make test` are all a newcomer needs; each works from a clean clone.
PYTHON ?= python3
BIN := .venv/bin
# Several servers and the tests share the cores; numpy must not take them all for one matrix.
export OPENBLAS_NUM_THREADS := 1

.PHONY: demo test check format bench lock clean

# A clone knows that it is installed when the lock is older than this file.
.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Penstock needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# torch stays out of the lock: its builds for CPU and GPU bear the same version. Only the tests of its loader need it.
.venv/torch: .venv/installed
	$(BIN)/python -m pip install --quiet torch==2.13.0
	@touch $@

demo: .venv/installed
	$(BIN)/penstock demo

test: .venv/installed .venv/torch
	$(BIN)/python -m pytest

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed
	$(BIN)/python -m benchmarks

# Renews the pins: hashes for every platform, no registry host in the file.
lock: .venv/installed
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --upgrade --no-annotate --no-header --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.txt

clean:
	rm -rf .venv
