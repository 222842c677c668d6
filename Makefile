# Everything a user or developer runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
DEMO := .demo-venv
BIN := $(VENV)/bin
OUT := reports/demo

.PHONY: help demo test test-fast calibration lint format types check resolve extras record bench docs build clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# Installed as a user would, so the package's own files decide whether it is up to date.
$(DEMO)/ready: pyproject.toml $(shell find evalharness -type f -not -name '*.pyc')
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check .
	@touch $@

demo: $(DEMO)/ready  ## compare the embedded example: a real regression, caught
	@echo "\$$ evalharness compare examples/support-desk/base.yaml examples/support-desk/candidate.yaml"
	@$(DEMO)/bin/evalharness compare examples/support-desk/base.yaml examples/support-desk/candidate.yaml --out $(OUT); \
	code=$$?; \
	if [ $$code -eq 1 ]; then \
	  echo; echo "exit code 1: the gate found the regression, as this example is meant to end."; \
	  echo "open $(OUT)/report.html"; \
	else \
	  echo; echo "exit code $$code, where 1 (regression) was expected: the demo is broken."; exit 1; \
	fi

$(VENV)/ready: pyproject.toml requirements/test.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: $(VENV)/ready  ## install what the tests need and run them all
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(VENV)/ready  ## the tests without simulations and slow ones
	$(BIN)/python -m pytest -m "not calibration and not slow"

calibration: $(VENV)/ready  ## the simulations of the gate's statistics
	$(BIN)/python -m pytest -m calibration

lint: $(VENV)/ready  ## ruff: style and banned calls
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(VENV)/ready  ## format the code
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

types: $(VENV)/ready  ## mypy, strict
	$(BIN)/mypy

check: lint types test  ## all of the above

resolve: $(VENV)/ready  ## check that the extras resolve, alone and together
	$(BIN)/python ci/extras.py --resolve

extras: $(VENV)/ready  ## install each extra in its own environment and import it (downloads gigabytes)
	$(BIN)/python ci/extras.py

record: $(VENV)/ready  ## train the example's two models and record their answers and the verdicts on them again (CPU, minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	$(BIN)/python examples/support-desk/record/train.py
	$(BIN)/evalharness run examples/support-desk/live/base.yaml --fresh --outputs examples/support-desk/outputs/base.jsonl
	$(BIN)/evalharness run examples/support-desk/live/candidate.yaml --fresh --outputs examples/support-desk/outputs/candidate.jsonl
	$(BIN)/python examples/support-desk/record/judge.py

bench: $(VENV)/ready  ## the figures of the README, as ratios within one run
	$(BIN)/python benchmarks/run_all.py

docs: $(VENV)/ready  ## write the generated parts of the documents again: outputs, tables, sample report, picture
	$(BIN)/python tests/docs/refresh.py

build: $(VENV)/ready  ## wheel and sdist
	$(BIN)/python -m build

clean:  ## remove what the commands above made
	rm -rf $(VENV) $(DEMO) dist build .evalharness reports/demo
