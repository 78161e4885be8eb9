# `make run` and `make test` are all that a fresh clone needs: Python 3.11 to 3.13, no root, with or without a GPU.
PYTHON ?=
PY := .venv/bin/python

# The stamp's name changes with what was asked for and where, so a changed, moved or interrupted set-up is never taken
# as whole. The old stamp goes before an installation starts; without one the environment is made anew.
STAMP := .venv/installed-$(shell { pwd; cat pyproject.toml constraints.txt; } | cksum | tr -s ' \t' '--')

# Prints the interpreter that a candidate really is (not the shim or environment in front of it), or fails.
FITS := import ensurepip, sys, venv; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit(1); print(sys._base_executable)

.PHONY: help run test test-gpu lab bench pictures lint format clean interpreter
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: $(STAMP)  ## execute every notebook; results in runs/<id>/index.html
	@$(PY) -m workbench.cli run --all

test: $(STAMP)  ## run the tests, on two cores
	@$(PY) -m pytest -n 2 --dist worksteal

test-gpu: $(STAMP)  ## run what needs an accelerator: contract tests and all notebooks on the device
	@$(PY) -m pytest -m gpu

lab: $(STAMP)  ## open JupyterLab on 127.0.0.1, token on, at copies of the notebooks in work/
	@$(PY) -m workbench.cli lab

bench: $(STAMP)  ## training steps and refinement a second, with parameters and FLOPs
	@$(PY) -m workbench.cli bench

pictures: $(STAMP)  ## README's pictures anew, by chromium, from the newest run of all chapters
	@$(PY) .ci/pictures.py

lint: $(STAMP)  ## ruff, oxlint, and notebooks without outputs
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m pytest -q -k "committed or linter" tests/test_notebooks.py tests/view/test_scripts.py

format: $(STAMP)  ## let ruff rewrite code and notebooks
	@$(PY) -m ruff check --fix
	@$(PY) -m ruff format

clean:  ## remove the environment and caches; runs/ stays
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A name on PATH may be a shim that only fails, so every candidate is executed. Text and no sub-make: a recipe line that
# holds the name of make's own variable is executed even by `make -n`.
INTERPRETER = for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python); do \
  if "$$candidate" -c '$(FITS)' 2>/dev/null; then exit 0; fi; done; \
  echo "No working Python 3.11, 3.12 or 3.13 with venv and pip was found$(if $(PYTHON), at $(PYTHON))." >&2; \
  echo "Install one (Debian, Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; exit 1

interpreter:
	@$(INTERPRETER)

$(STAMP): pyproject.toml constraints.txt
	@python="$$($(INTERPRETER))" || exit 1; \
	if grep -qxF "$$(pwd)" .venv/installed-* 2>/dev/null && $(PY) -c '$(FITS)' >/dev/null; then rm .venv/installed-*; \
	else echo "Creating .venv with $$python"; "$$python" -m venv --clear .venv || exit 1; fi; \
	echo "Installing: a few minutes and some 7 GB (10 while it lasts), the first time."; \
	$(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]' || exit 1; \
	pwd > "$@"
