PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

# Lightning, PINA and DeepXDE are installed beside the rest, in an environment that sees its packages.
SITE_PACKAGES := "import sysconfig; print(sysconfig.get_path('purelib'))"

MINUTES ?= 10

ENVIRONMENTS ?= all

.PHONY: demo test campaigns versions check format bench paper clean

demo: .venv/for-demo  ## Train a vanilla and an RBA network on the Helmholtz equation and draw their phases.
	$(BIN)/phasecore compare helmholtz --weightings uniform,rba

test: check  ## Lint, check types, run all tests.
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

campaigns: .venv/for-test  ## Run the long forms of the tests, which `make test` leaves out.
	$(BIN)/python -m pytest -m campaign --numprocesses auto --dist loadfile --no-loadscope-reorder

versions: .venv-versions/tools/ready  ## Try the lowest and the newest versions in each ENVIRONMENTS that has not passed yet.
	cd tests && ../.venv-versions/tools/bin/python -m versions $(ENVIRONMENTS)

.venv-versions/tools/ready: constraints.txt
	$(PYTHON) -m venv .venv-versions/tools
	.venv-versions/tools/bin/python -m pip install --quiet --constraint constraints.txt uv findpython
	touch $@

check: .venv/for-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/for-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/for-demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) '.[torch,report]'
	touch $@

.venv/for-test: pyproject.toml constraints.txt tests/integrations/requirements.txt
	$(PYTHON) -m venv .venv
	$(PIP) '.[torch,keras,jax,report,loggers,dev]'
	$(PYTHON) -m venv .venv/integrations
	echo "import site; site.addsitedir('$$($(BIN)/python -c $(SITE_PACKAGES))')" \
		> $$(.venv/integrations/bin/python -c $(SITE_PACKAGES))/main.pth
	.venv/integrations/bin/python -m pip install --quiet --constraint constraints.txt \
		--requirement tests/integrations/requirements.txt
	touch $@

bench: .venv/for-test .venv-bench/deepxde/ready .venv-bench/pina/ready  ## Measure training steps beside other libraries.
	$(BIN)/python -m benchmarks.peers

paper: .venv/for-demo  ## Train the paper's set-ups for MINUTES in all, going on where the last call stopped, and draw them.
	$(BIN)/python -m benchmarks.paper --minutes $(MINUTES)

.venv-bench/%/ready: benchmarks/peers/requirements-%.txt constraints.txt
	$(PYTHON) -m venv .venv-bench/$*
	echo "import site; site.addsitedir('$$($(BIN)/python -c $(SITE_PACKAGES))')" \
		> $$(.venv-bench/$*/bin/python -c $(SITE_PACKAGES))/main.pth
	.venv-bench/$*/bin/python -m pip install --quiet --constraint constraints.txt --requirement $<
	touch $@

clean:
	rm -rf .venv .venv-bench .venv-versions build dist
