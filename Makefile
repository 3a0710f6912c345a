# Two commands: `make demo` shows what probekit does, `make test` checks all of it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL := smollm2-135m
# Threads that spin for long while they wait slow everything down where the machine is shared.
export GOMP_SPINCOUNT ?= 3000

.PHONY: demo test format notebooks clean

demo: $(VENV)/.installed
	$(BIN)/probekit fetch $(MODEL)
	$(BIN)/probekit probe $(MODEL) --out runs/demo --sites resid_post --stimuli vignettes

test: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Runs every notebook in full, and keeps its outputs; figures need a Chromium.
notebooks: $(VENV)/.installed-notebooks
	$(BIN)/python notebooks/rebuild.py

# torch goes first: its pin keeps later steps from choosing another build of it.
$(VENV)/.torch:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-notebooks: $(VENV)/.installed-dev pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[dev,rebuild]'
	touch $(VENV)/.installed $(VENV)/.installed-dev $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info
