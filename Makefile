# make demo   sets up and shows the main job
# make test   sets up and runs everything
# make check  lint, types, unit: the inner loop
# make bench  measures, beside the peers

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SOURCES := $(shell find src scripts share -type f -not -name '*.pyc') setup.py pyproject.toml README.md

# The compiled tests must be seen by the VM, where compiling takes 20 times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check lint types unit kernel test-vm bench clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# make/make/p' Makefile

# ---- setting up: each step only where it is needed ---------------------------------------------

$(BIN)/python:
	@tools/setup.sh venv $(PYTHON) $(VENV)

# The wheel is what is installed, shown and tested.
$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	@rm -rf build dist
	@$(BIN)/pip install -q --upgrade 'pip>=23' 'setuptools>=77' wheel
	@$(BIN)/pip wheel -q --no-deps --no-build-isolation -w dist .
	@$(BIN)/pip install -q --no-deps --force-reinstall dist/climits-*.whl
	@rm -rf build src/climits.egg-info
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.installed
	@$(BIN)/pip install -q pytest pytest-timeout hypothesis mypy ruff shtab==1.13.0 selenium
	@$(BIN)/pip install -q --no-deps axe-playwright-python  # for its axe.min.js; a browser of its own is not needed
	@$(BIN)/pip install -q "$$(ls dist/climits-*.whl)[all]"
	@touch $@

# ---- showing -----------------------------------------------------------------------------------

demo: $(VENV)/.installed
	@tools/demo.sh $(BIN)

# ---- testing -----------------------------------------------------------------------------------

test: $(VENV)/.installed $(VENV)/.dev
	@tools/setup.sh system
	@$(MAKE) --no-print-directory lint types
	@$(BIN)/python -m pytest -q tests/unit tests/contract
	@$(BIN)/python -m pytest -q tests/kernel tests/cli tests/faults
	@$(MAKE) --no-print-directory test-vm

check: lint types unit

lint: $(VENV)/.dev
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/python tools/make_reference.py --check

types: $(VENV)/.dev
	@$(BIN)/mypy --no-error-summary

unit: $(VENV)/.installed $(VENV)/.dev
	@$(BIN)/python -m pytest -q tests/unit tests/contract

kernel: $(VENV)/.installed $(VENV)/.dev
	@$(BIN)/python -m pytest -q tests/kernel tests/cli tests/faults

test-vm: $(VENV)/.installed $(VENV)/.dev
	@$(BIN)/python -m pytest -q tests/vm
	@$(BIN)/python tests/vm/matrix.py

bench: $(VENV)/.installed
	@benchmarks/peers.sh
	@for script in launch command memory supervise container toolbox tree batch history pool pool_outcomes sampler top recorder metrics; do $(BIN)/python benchmarks/$$script.py || exit 1; done

clean:
	rm -rf $(VENV) .venv-peers build dist src/climits.egg-info tests/programs/.build
