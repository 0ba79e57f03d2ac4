# Each target does all of its set-up: a fresh machine needs Python 3.11 to 3.13 and make, nothing else.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: install test lint format demo docs dist audit clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "segattn needs Python 3.11 to 3.13, and $(PYTHON) is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode -c constraints.txt -e '.[dev]'
	touch $@

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

dist: install
	$(BIN)/uv build

# Asks public databases for known weaknesses of the installed packages; it needs a network, so CI leaves it out.
audit: install
	$(BIN)/uv tool run pip-audit --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

clean:
	rm -rf .venv demo dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
