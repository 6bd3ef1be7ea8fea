# make install | demo | train | ui | test | faults | lint | clean
PYTHON ?= python3
BIN := .venv/bin
# Options of `cliplit photos demo`, as in: make demo DEMO="--seed 3"
DEMO ?=
# As in cliplit/cli.py: torch's threads shall not spin while they wait, others compute too.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: install demo train ui test faults lint clean

install: .venv/installed

demo: install
	$(BIN)/cliplit photos demo $(DEMO)
	$(BIN)/python -m pipelines.train
	$(BIN)/cliplit enhance data/photos/pairs/backlit -o enhanced --overwrite
	@echo
	@echo "Report:            artifacts/report/report.html (open it in a browser)"
	@echo "Enhanced photos:   enhanced/ (as taken: data/photos/pairs/backlit/)"
	@echo "Dagster, MLflow:   make ui, then http://127.0.0.1:3000 and http://127.0.0.1:5000"

train: install
	$(BIN)/python -m pipelines.train

ui: install
	$(BIN)/python -m pipelines.ui

# Two workers: most of the time goes into waiting for servers and for single threads.
test: install
	$(BIN)/python -m pytest -n 2

# Kills, full disks, lost servers; writes what it measured into docs/reliability.md.
faults: install
	CLIPLIT_FAULTS_PAGE=docs/reliability.md $(BIN)/python -m pytest -q tests/faults

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The marker is written last, so that an interrupted install starts again.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and 'cliplit needs Python 3.11, 3.12 or 3.13; call make PYTHON=python3.12')"
	@echo "Installing into .venv: several gigabytes, some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

# Photos, the environment, and what MLflow and DVC keep stay.
clean:
	rm -rf artifacts work enhanced
