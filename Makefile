# Everything that a user or CI does: `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
REPEATS ?= 5
LONG := studies/calibration.toml

.PHONY: help demo test studies lint bench bench-compare bench-baseline bench-memory bench-scaling bench-overhead fuzz torture clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-14s %s\n", $$1, $$2}'

demo: $(INSTALLED)  ## set up, run `initbench variance --depth 20` on embedded input, say where the figures are
	$(BIN)/initbench variance --depth 20

test: $(INSTALLED)  ## set up, run the whole test suite, a process a core
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

studies: $(INSTALLED)  ## answer the questions in studies/ (all but the calibration of the verdicts); writes reports/ and studies/README.md
	$(BIN)/initbench run $(filter-out $(LONG), $(wildcard studies/*.toml)) --index studies/README.md

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## speed, as ratios to yardsticks measured beside
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

bench-compare: $(INSTALLED)  ## fail if a path is slower than results/benchmarks/baseline.json by more than noise
	PYTHONPATH=tests $(BIN)/python -m benchmarks.gate compare

bench-baseline: $(INSTALLED)  ## measure that baseline anew, on a quiet machine (REPEATS=5, 2 to 4 minutes each)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.gate renew --repeats $(REPEATS)

bench-memory: $(INSTALLED)  ## the starting process's memory by the grid's cells (20 minutes with a million)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.memory

bench-scaling: $(INSTALLED)  ## cost by runs and by depth (5 minutes); writes reports/readme/scaling.png
	PYTHONPATH=tests $(BIN)/python -m benchmarks.scaling reports/readme

bench-overhead: $(INSTALLED)  ## what a stack costs beside its training, by executor (5 minutes)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.overhead

torture: $(INSTALLED)  ## kill, damage, fill the disk: every fault on the real program (9 minutes); writes docs/reliability.md
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m torture --write docs/reliability.md

fuzz: $(INSTALLED)  ## a hundred thousand bad inputs: never a traceback
	$(BIN)/python tests/fuzz.py

clean:  ## remove the environment and all caches (not results/ and reports/)
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@
