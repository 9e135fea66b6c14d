PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test check format clean

demo: $(INSTALLED)  ## Train a vanilla and an RBA network on the Helmholtz equation and draw their phases.
	$(BIN)/phasecore compare helmholtz --weightings uniform,rba

test: $(INSTALLED) check  ## Lint, check types, run all tests.
	$(BIN)/python -m pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[torch,report,dev]'
	touch $@

clean:
	rm -rf .venv build dist
