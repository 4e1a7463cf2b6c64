# Every target makes what it needs of .venv, when it is missing or older than pyproject.toml and constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SPEC := pyproject.toml constraints.txt
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test slow lint format bench docs page clean

help:
	@echo 'make demo     a small model, trained and shown, from nothing'
	@echo 'make test     the fast tests                        (ARGS="-k vae" is handed to pytest)'
	@echo 'make slow     the tests that train for longer       (ARGS as above)'
	@echo 'make lint     ruff, mypy and the layers of imports'
	@echo 'make format   put the code in order with ruff'
	@echo 'make bench    how fast it is, beside its peers      (ARGS="--json speed.json --update" writes docs/benchmarks.md)'
	@echo 'make docs     the pages, in docs/_build/html'
	@echo 'make page     the explorer'"'"'s page from web/ (needs Node.js 20 and npm)'
	@echo 'make clean    away with .venv, caches and builds'
	@echo 'PYTHON=...    the Python to make .venv with: 3.11 or newer'

demo: $(VENV)/.core
	$(BIN)/diabolo demo $(ARGS)

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

slow: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/speed.py $(ARGS)

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo 'The pages are in docs/_build/html/index.html'

page:
	cd web && npm ci --no-fund --no-audit && npm run check && npm run build

clean:
	rm -rf $(VENV) benchmarks/.envs web/node_modules build dist src/*.egg-info docs/_build
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# A stamp carries the time at which its install began and gets its name when the install is done: an install that was
# interrupted is made again, and so is one during which pyproject.toml or constraints.txt changed.

$(VENV)/.torch: $(SPEC)
	@command -v "$(PYTHON)" >/dev/null 2>&1 \
	    || { echo 'diabolo needs Python 3.11 or newer, and there is no "$(PYTHON)": set PYTHON=...' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo 'diabolo needs Python 3.11 or newer, and "$(PYTHON)" is older: set PYTHON=...' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo '"$(PYTHON)" has no venv: install it (python3-venv on Debian and Ubuntu) or set PYTHON=...' >&2; exit 1; }
	@echo 'Making $(VENV) with $(PYTHON)'
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@.tmp
	@torch=$$(grep '^torch==' constraints.txt) && echo "Installing $$torch" && $(PIP) "$$torch"
	@mv $@.tmp $@

$(VENV)/.core: $(VENV)/.torch
	@echo 'Installing diabolo and its explorer'
	@touch $@.tmp
	@$(PIP) -c constraints.txt -e '.[explorer]'
	@mv $@.tmp $@

$(VENV)/.dev: $(VENV)/.torch
	@echo 'Installing diabolo with its extras and the tools of development'
	@touch $@.tmp $(VENV)/.core.tmp
	@$(PIP) -c constraints.txt -e '.[dev,explorer,flow,huggingface,onnx,parquet,ray,tensorboard]'
	@$(PIP) -c constraints.txt --no-deps torch-fidelity  # its Inception alone is used, which needs no torchvision
	@mv $(VENV)/.core.tmp $(VENV)/.core
	@mv $@.tmp $@

$(VENV)/.bench: $(VENV)/.dev
	@echo 'Installing what the benchmarks compare with'
	@touch $@.tmp
	@$(PIP) -c constraints.txt -e '.[bench]'
	@mv $@.tmp $@

$(VENV)/.docs: $(VENV)/.torch
	@echo 'Installing diabolo with the tools of its documentation'
	@touch $@.tmp $(VENV)/.core.tmp
	@$(PIP) -c constraints.txt -e '.[docs]'
	@mv $(VENV)/.core.tmp $(VENV)/.core
	@mv $@.tmp $@
