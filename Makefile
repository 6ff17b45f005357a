# Every target builds .venv by itself. uv is used where it is installed, else Python's venv and pip.

VENV := .venv
VENV_144 := .venv-1.44
VENV_GPU_PLAN := .venv-gpu-plan
VENV_GPU := .venv-gpu
JOBS ?= 2
UV := $(shell command -v uv 2>/dev/null)
# The first Python that is new enough; uv finds, or fetches, one by itself.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
# Tests that need a Ray cluster share one: they run after the others, in one process.
PYTEST = -m pytest -n $(JOBS) --dist worksteal -m "not slow and not ray and not gpu"
PYTEST_RAY = -m pytest -m "ray and not slow"

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-polars-1.44 test-gpu-plan test-gpu lint types bench bench-gpu notebook clean

help:  ## show this list
	@echo "make demo    write recordings, run the main job over them, print each step"
	@echo "make test    run the tests"
	@echo
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | grep -vE '^(demo|test):' | sed -E 's/:.*## /\t/' \
		| awk -F '\t' '{ printf "make %-18s %s\n", $$1, $$2 }'

demo: $(VENV)/.installed  ## write recordings, run the main job over them, print each step
	@$(VENV)/bin/robodf demo

test: $(VENV)/.installed  ## run the tests
	$(VENV)/bin/python $(PYTEST)
	$(VENV)/bin/python $(PYTEST_RAY)

test-long: $(VENV)/.installed  ## all tests, the slow ones too, 20,000 random plans, 40,000 mutated logs, 10,000 mutated files
	ROBODF_PROPERTY_PLANS=20000 ROBODF_MUTATED_LOGS=40000 ROBODF_MUTATED_FILES=10000 \
		$(VENV)/bin/python -m pytest -n $(JOBS) --timeout 3600 -m "not ray"
	$(VENV)/bin/python -m pytest -m ray --timeout 3600

# What asks Polars most: queries. Kernels, file formats, damage and the command line are the same Python on both versions,
# and so is what Ray does, which a few tests try; `make test-polars-1.44 TESTS_144=tests` runs all that needs no cluster.
TESTS_144 ?= tests/plan tests/optimizer tests/ops tests/property tests/sql tests/images tests/text \
	tests/io/test_read.py tests/io/test_splits.py tests/io/test_indexed_files.py tests/io/test_text_modes.py \
	tests/io/test_mcap_source.py tests/io/test_log_fetching.py tests/io/test_sink.py \
	tests/io/test_parquet_pages.py tests/io/test_video.py
test-polars-1.44: $(VENV_144)/.installed  ## the tests of queries on Polars 1.44, the oldest that is supported
	$(VENV_144)/bin/python $(PYTEST) $(TESTS_144)
	$(VENV_144)/bin/python $(PYTEST_RAY) tests/ops/test_operators.py tests/property

# What goes to a GPU, asked of cudf-polars where there is none. The tests of operators run with engine="gpu", their
# fragments run by Polars in the stead of a GPU. Few random plans, as those of `make test` are tried too.
test-gpu-plan: $(VENV_GPU_PLAN)/.installed  ## what of a plan goes to a GPU: needs none
	ROBODF_PROPERTY_PLANS=400 $(VENV_GPU_PLAN)/bin/python -m pytest -n $(JOBS) -m "not slow and not ray and not gpu" \
		tests/gpu tests/property/test_random_placements.py \
		tests/repo/test_docs.py::test_examples_of_placement_on_a_gpu_that_polars_plays
	ROBODF_TEST_PRETENDED_GPU=1 $(VENV_GPU_PLAN)/bin/python -m pytest -n $(JOBS) -m "gpu and not slow" tests/ops

test-gpu: $(VENV_GPU)/.installed  ## the tests of operators on a GPU, and all of tests/gpu: needs an NVIDIA GPU
	$(VENV_GPU)/bin/python -m pytest -m "gpu and not slow" tests/ops tests/gpu
	$(VENV_GPU)/bin/python -m pytest -m "not slow and not ray and not gpu" tests/gpu \
		tests/property/test_random_placements.py

lint: $(VENV)/.installed  ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed  ## pyright
	$(VENV)/bin/pyright

bench: $(VENV)/.installed  ## benchmarks against other libraries
	$(VENV)/bin/python -m benchmarks.run

# Data, 4 GB of it, is made once. Where there is no GPU both say so, and measure nothing.
bench-gpu: $(VENV_GPU)/.installed  ## queries and kernels on a GPU beside Polars and the processor: needs an NVIDIA GPU
	$(VENV_GPU)/bin/python -m benchmarks.gpu --full --write
	$(VENV_GPU)/bin/python -m benchmarks.gpu_kernels --full --write

notebook: $(VENV)/.installed  ## write the .ipynb of each notebook from its .py
	$(VENV)/bin/jupytext --to ipynb notebooks/*.py

clean:  ## remove the environments, caches, and the demo's files
	rm -rf $(VENV) $(VENV_144) $(VENV_GPU_PLAN) $(VENV_GPU) robodf-demo .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call build,FOLDER,MORE PACKAGES): an environment with robodf, as it is here, and the tools of its development.
ifneq ($(UV),)
define build
	@echo "Installing robodf and its tools into $(1) with uv ..."
	@$(UV) venv --quiet --clear --python ">=3.11" $(1)
	@VIRTUAL_ENV=$(1) $(UV) pip install --quiet --editable . --group dev $(2)
	@touch $(1)/.installed
endef
else
define build
	@test -n "$(PYTHON)" || { echo "robodf needs Python 3.11 or newer; none was found. Install one, or uv." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: install it (on Debian and Ubuntu: apt install python3-venv), or uv." >&2; exit 1; }
	@echo "Installing robodf and its tools into $(1) with pip: a minute or two ..."
	@$(PYTHON) -m venv --clear $(1)
	@# A group of dependencies needs pip 25.1, which may be newer than the one that comes with Python.
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group dev $(2)
	@touch $(1)/.installed
endef
endif

$(VENV)/.installed: pyproject.toml
	$(call build,$(VENV),)

$(VENV_144)/.installed: pyproject.toml
	$(call build,$(VENV_144),"polars==1.44.*")

$(VENV_GPU)/.installed: pyproject.toml
	$(call build,$(VENV_GPU),--editable ".[gpu]" tpchgen-cli)

$(VENV_GPU_PLAN)/.installed: pyproject.toml requirements/gpu-plan.txt
	$(call build,$(VENV_GPU_PLAN),"polars==1.44.2")
	@rm $(VENV_GPU_PLAN)/.installed
ifneq ($(UV),)
	@VIRTUAL_ENV=$(VENV_GPU_PLAN) $(UV) pip install --quiet --no-deps -r requirements/gpu-plan.txt
else
	@$(VENV_GPU_PLAN)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/gpu-plan.txt
endif
	@touch $(VENV_GPU_PLAN)/.installed
