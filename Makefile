# `make demo` and `make test` need Python 3.10 or newer and nothing else. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test slow lint format doctor clean

demo: $(STAMP)
	$(VENV)/bin/multimodal-ser demo

test: $(STAMP)
	$(RUN) -m pytest -n 2

slow: $(STAMP)
	$(RUN) -m pytest -n 2 -m "slow and not network and not gpu"

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(STAMP)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

doctor: $(STAMP)
	$(VENV)/bin/multimodal-ser doctor

clean:
	rm -rf $(VENV) build dist demo_output .pytest_cache .ruff_cache .hypothesis .coverage *.egg-info

# The stamp is newer than setup.cfg once everything that it asks for is installed.
$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed ($(PYTHON) is not): make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	  { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu its parts come apart:" >&2; \
	    echo "  sudo apt install python3-venv" >&2; exit 1; }
	$(RUN) -m pip install -e ".[test]"
	@touch $@
