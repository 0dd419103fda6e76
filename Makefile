# make demo | test | test-quick | check | old-clients | chaos | soak | audit | licences | bench | bench-capture | bench-evidence | bench-warehouse | bench-load | bench-import | bench-upkeep | bench-inference | bench-replay | docs | clean
# (Python 3.11+, GNU make)
PYTHON ?= python3
BIN := .venv/bin
# what a user needs, and what developers need besides
INSTALLED := .venv/.installed
DEVELOPERS := .venv/.installed-for-developers
SLOW := bench chaos flows/cli flows/remedies flows/steps flows/upkeep flows/test_pipeline.py flows/test_prefect_run.py \
	models/test_families.py reports/page/test_report.py reports/results/test_files.py reports/figures/test_run_figures_of_extremes.py \
	reports/statistics/test_power_law.py reports/statistics/test_resampling.py test_specification.py test_wheel.py
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

export DO_NOT_TRACK := 1

.PHONY: install demo test test-quick old-clients chaos check audit licences bench bench-capture bench-evidence bench-warehouse bench-load bench-import bench-upkeep bench-inference bench-replay soak docs constraints clean

install: $(INSTALLED)

$(INSTALLED): constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gatehouse needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PIP) -e .
	-$(BIN)/python -m gatehouse.flows.fill_cache
	touch $@

$(DEVELOPERS): $(INSTALLED)
	$(PIP) -e '.[dev,quantize]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/gatehouse run --num-samples 2000 --batch-size 16

test: $(DEVELOPERS)
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations=10

# without the tests that share a built warehouse, a server or a browser, or that take as long
test-quick: $(DEVELOPERS)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not xdist_group" $(SLOW:%=--ignore=tests/%)

# clients that read a built database in tests/flows/steps/test_other_clients.py, if they are there
old-clients: build/duckdb-1.2.2 build/duckdb-1.5.6

build/duckdb-%: | $(INSTALLED)
	rm -rf build/.$(@F)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--target build/.$(@F) duckdb==$*
	mv build/.$(@F) $@

chaos: $(DEVELOPERS)
	$(BIN)/python -m tests.chaos

# build/typed/gatehouse is the checkout by the name of its package: mypy looks for folders
check: audit
	mkdir -p build/typed && ln -sfn ../.. build/typed/gatehouse
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint dbt_project

audit: $(DEVELOPERS)
	$(BIN)/python -m tests.tools.audit

licences: $(DEVELOPERS)
	$(PIP) -e '.[bench]'
	$(BIN)/python -m tests.tools.licences

bench: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.landing

bench-capture: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.capture

bench-evidence: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.evidence

bench-warehouse: $(DEVELOPERS)
	$(PIP) -e '.[bench]'
	$(BIN)/python -m tests.bench.warehouse

bench-load: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.load

bench-import: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.imports

bench-upkeep: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.upkeep

bench-inference: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.inference

bench-replay: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.replaying

soak: $(DEVELOPERS)
	$(BIN)/python -m tests.bench.soak

docs: $(INSTALLED)
	$(BIN)/gatehouse docs

constraints:
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install --quiet --disable-pip-version-check -e '.[dev,quantize,bench]'
	.venv-constraints/bin/pip check
	grep '^# ' constraints.txt > constraints.new
	.venv-constraints/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' >> constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv-constraints

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
