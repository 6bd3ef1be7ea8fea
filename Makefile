# make demo | train | ui | test | lint
PYTHON ?= python3
BIN := .venv/bin
PHOTOS := data/photos

.PHONY: demo train ui test lint clean

demo: .venv/installed
	$(BIN)/cliplit photos demo
	$(BIN)/python -m pipelines.train
	$(BIN)/cliplit enhance $(PHOTOS)/pairs/backlit -o enhanced --overwrite
	@echo
	@echo "Report:           artifacts/report/report.html"
	@echo "Enhanced photos:  enhanced/"
	@echo "Dagster, MLflow:  make ui, then http://127.0.0.1:3000 and http://127.0.0.1:5000"

train: .venv/installed
	$(BIN)/python -m pipelines.train

ui: .venv/installed
	$(BIN)/python -m pipelines.ui

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The marker is written last, so that an interrupted install starts again.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'cliplit needs Python 3.11 or newer; call make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf artifacts work enhanced
