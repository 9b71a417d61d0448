# make demo    set up and run the main job, offline; the last line is the path of the report
# make test    set up with the test extras and run the whole test suite
#
# Set-up is done once: a stamp in .venv is renewed when pyproject.toml or constraints.txt change.
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# make bench: Pythons of the environments that benchmarks/make_environments.sh makes, and how long to measure at most.
ENVIRONMENTS ?= build/bench-environments
PEERS_PYTHON ?= $(ENVIRONMENTS)/peers/bin/python
LLAMA_FACTORY_PYTHON ?= $(ENVIRONMENTS)/llama-factory/bin/python
MINUTES ?= 45

.PHONY: demo test test-fast lint reference bench constraints clean

demo: $(VENV)/installed
	@$(BIN)/clinfit run studies/quickstart.yaml

# A process a core, four at most; one file of tests stays in one process, so that what it shares is made once.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile

test: $(VENV)/installed-tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-fast: $(VENV)/installed-tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow"

lint: $(VENV)/installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# Pages that are made from the code.
reference: $(VENV)/installed-tests
	$(BIN)/python scripts/make_reference.py
	$(BIN)/python scripts/make_metrics_page.py

bench: $(PEERS_PYTHON)
	LLAMA_FACTORY_PYTHON=$(wildcard $(LLAMA_FACTORY_PYTHON)) \
		$(PEERS_PYTHON) benchmarks/run.py --work build/bench --minutes $(MINUTES)

$(ENVIRONMENTS)/peers/bin/python:
	benchmarks/make_environments.sh $(ENVIRONMENTS)

# The newest releases that pyproject.toml allows, as the new constraints.txt. Run `make test` after it.
constraints: build/newest/installed
	{ sed -n '/^#/p' constraints.txt; \
		build/newest/bin/python -m pip freeze --all --exclude pip --exclude-editable \
		| sed 's/+[a-z0-9.]*$$//' | grep -v '^cuda\|^nvidia-\|^triton'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

build/newest/installed: pyproject.toml
	$(PYTHON) -m venv --clear build/newest
	build/newest/bin/python -m pip install --quiet hatchling editables
	build/newest/bin/python -m pip install --quiet --no-build-isolation -e '.[test,minilm,tensorboard]'
	@touch $@

clean:
	rm -rf $(VENV) build dist

# ---------------------------------------------------------------- set-up

$(VENV)/made:
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON). Install Python 3.11 or newer, or name it: make demo PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "make: $(PYTHON) is Python %d.%d, and clinfit needs 3.11 or newer. Name another: make demo PYTHON=python3.12" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The build backend is installed first and used as it is, so that it is pinned like everything else.
$(VENV)/installed: $(VENV)/made pyproject.toml constraints.txt
	@echo "Installing clinfit into $(VENV); the first time this takes some minutes."
	$(PIP) install --quiet -c constraints.txt hatchling editables
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e .
	@touch $@

$(VENV)/installed-tests: $(VENV)/installed
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[test,minilm,tensorboard]'
	@touch $@
