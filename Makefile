# Two commands do everything on a bare machine: `make demo` and `make test`.
PYTHON ?= python3
# Test processes: about one a core, and 1 GB of memory each. Each has a ROS domain of its own.
JOBS ?= 2
# Files whose tests take longest come first, so that no process ends long after the others. A file stays with one
# process, which makes once what its tests share, such as a compiled engine.
LONGEST := test/experiments test/core/export/test_export.py test/core/training/test_training.py test/core/inference test/core/benchmark
VENV := .venv
BIN := $(VENV)/bin
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench constraints clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Label a drive through clear air, fog, night, rain and snow with the real node: build/demo
	$(BIN)/querydiff demo --output build/demo

test: $(VENV)/.dev ## Run the whole test suite in JOBS=2 processes: what needs no ROS, then what talks over DDS
	@failed=; \
	$(BIN)/python -m pytest $(LONGEST) test/core test/test_documents.py --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder || failed="$$failed test/core test/experiments"; \
	$(BIN)/python -m pytest test/ros test/launch --numprocesses $(JOBS) --dist worksteal || failed="$$failed test/ros test/launch"; \
	test -z "$$failed" || { echo "error: tests failed in$$failed"; exit 1; }

check: $(VENV)/.dev ## Check format, lint, types and which part imports which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev ## Format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## Run the benchmarks that finish unattended (docs/benchmarks.md)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

constraints: $(VENV)/.dev ## Write the versions of everything in this environment to constraints.txt
	{ $(BIN)/python -c 'import platform as p; print(f"# The tests ran with these: Python {p.python_version()}, {p.system()} {p.machine()}.")'; \
	$(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) build install log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: $(PYTHON) must be Python 3.10 to 3.13: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[ros]'
	@touch $@

$(VENV)/.dev: setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[ros,train,dev]'
	@touch $@ $(VENV)/.run
