# A fresh clone needs Python 3.11 or newer, pip and make; everything else is installed into .venv.
#   make demo   screen, revise, train, align and evaluate the embedded experiment; ends with the table and the report
#   make test   the default tests: no network, no GPU, no data besides what is in the repository
PYTHON ?= python3
PYTEST_ARGS ?= -n auto --dist loadfile

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

.PHONY: demo test lint types clean

demo: .venv/.installed
	$(BIN)/safefed run --out runs/demo --resume

test: .venv/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev
	.ci/static

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("safefed needs Python 3.11 or newer, and %s is %d.%d; try: make PYTHON=python3.11" % (sys.executable, *sys.version_info[:2]))'
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/pyvenv.cfg pyproject.toml constraints.txt
	@echo "installing safefed and what it builds on into .venv: a few minutes, once"
	$(INSTALL) -e .
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(INSTALL) -e ".[dev,simulation,endpoint]"
	@touch $@
