# The habits of the house. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
# More than cores: half of the tests wait, for a tick, a death or a lease's end. A file's tests stay together, since they
# share servers.
TEST_WORKERS ?= 4

IN_VENV := $(VENV)/bin/python
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
LINT := .venv-lint

# Nothing is installed where the environment's Python is gone, as after an upgrade of the system's.
$(shell [ -x $(IN_VENV) ] || rm -f $(DEMO) $(DEV))

# What the caller set for another environment must not reach this one.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE
unexport PIP_DRY_RUN PIP_NO_BUILD_ISOLATION PIP_NO_DEPS PIP_PREFIX PIP_PYTHON PIP_ROOT PIP_TARGET PIP_USER

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo serve test test-frameworks test-browser bench-decisions bench-report figures bench-server bench-attack check-gpu docs docs-api docs-links lint build sbom clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO) ## Retrain a real model through a real server on a simulated GPU, under a minute; OPEN=1, KEEP=1: its page
	@$(IN_VENV) -m rheostat demo $(if $(OPEN),--open) $(if $(KEEP),--keep)

serve: $(DEMO) ## Run the server on this machine until Ctrl-C
	@$(IN_VENV) -m rheostat serve

test: $(DEV) ## Run all tests, on SQLite and on a PostgreSQL that they bring along
	@$(IN_VENV) -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile

# The frameworks have an environment of their own, of about 1.5 GB. On Linux, PyPI's torch is built for CUDA and brings
# several GB of its libraries; a machine with no such GPU does better with the build for the CPU, from PyTorch's own
# package index: make it known to pip first, by PIP_EXTRA_INDEX_URL, or let PIP_FIND_LINKS name a folder with the wheel.
test-frameworks: ## Train in PyTorch, Transformers and Lightning, on one process and on several; run examples/
	@$(MAKE) --no-print-directory VENV=.venv-frameworks .venv-frameworks/.installed-frameworks
	@.venv-frameworks/bin/python -m pytest tests/frameworks

# Debian's packages of Chromium are installed where they are missing and that is permitted; elsewhere any Chromium and its
# chromedriver will do. What the pages look like is kept in build/screenshots.
test-browser: $(VENV)/.installed-browser ## Look at the pages in a real browser, on a phone's screen and a desk's
	@.ci/install_browser
	@$(IN_VENV) -m pytest --numprocesses 2 --dist loadfile tests/browser

bench-decisions: $(DEV) ## Compare the policies' decisions with the best possible; TRACES=folder adds recorded worlds
	@$(IN_VENV) -m benchmarks.decisions $(if $(TRACES),--traces '$(TRACES)') $(BENCH)

bench-report: $(VENV)/.installed-report ## Write docs/decisions.md about the decisions, with figures; TRACES=folder on recorded worlds
	@$(IN_VENV) -m benchmarks.decisions.report $(if $(TRACES),--traces '$(TRACES)') $(BENCH)

figures: $(VENV)/.installed-report ## Draw the documentation's figures from TRACES=folder, the recorded runs of the Zeus artifact
	@$(IN_VENV) -m benchmarks.story --traces '$(TRACES)'

bench-server: $(DEV) ## Put the server and its peer under the same load; some minutes, installs the peer into build/
	@$(IN_VENV) -m benchmarks.server $(BENCH)

bench-attack: $(DEV) ## Attack a server of its own, an hour; prints what others pay; BENCH="heads odd races" some of it
	@$(IN_VENV) -m benchmarks.attack $(BENCH)

check-gpu: $(DEV) ## Check Rheostat on this machine's GPU, six minutes; PARTS="facts answers" some; SIMULATE=1 on a fake
	@$(IN_VENV) -m benchmarks.gpu $(if $(SIMULATE),--simulate) $(if $(PARTS),--parts '$(PARTS)') $(BENCH)

# The documentation has an environment of its own, too. -W: a warning is an error, as of a link that leads nowhere.
SITE := $(MAKE) --silent VENV=.venv-docs .venv-docs/.installed-docs && \
    .venv-docs/bin/python -m sphinx -E -W --keep-going --quiet -c docs -d build/doctrees

docs: ## Build docs/ into a site, build/site, and check its links
	@rm -rf build/site
	@$(SITE) -b html . build/site
	@.venv-docs/bin/python docs/check_site.py build/site
	@echo "The documentation is in build/site/index.html."

docs-api: $(DEV) ## Write docs/api.md from the application's own OpenAPI document
	@$(IN_VENV) -m docs.api_page

docs-links: ## Check that the pages' links to other sites answer; needs the network
	@$(SITE) -b linkcheck . build/links

lint: $(DEV) ## Check style, types and who imports whom
	@$(MAKE) --no-print-directory VENV=$(LINT) $(LINT)/.installed-lint
	@$(LINT)/bin/ruff check
	@$(LINT)/bin/ruff format --check
	@$(LINT)/bin/mypy --python-executable $(IN_VENV)
	@$(LINT)/bin/lint-imports --no-logo
	@$(LINT)/bin/shellcheck deploy/slurm/*.sh .ci/run .ci/check_wheel .ci/install_browser examples/curl.sh

build: $(DEV) ## Build the wheel into dist/
	@rm -rf dist
	@$(IN_VENV) -m hatchling build --target wheel

sbom: ## List every package in the server's image in build/sbom.json, as CycloneDX
	@$(PYTHON) .ci/make_sbom build/sbom.json

clean: ## Remove the virtual environment and all that was built or cached
	@for venv in $(VENV) $(LINT) .venv-docs .venv-frameworks; do [ ! -e $$venv/pyvenv.cfg ] || rm -rf $$venv; done
	@rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
	@find app migrations tests -name __pycache__ -type d -exec rm -rf {} +

$(VENV)/.installed-%: pyproject.toml | $(IN_VENV)
	@$(IN_VENV) .ci/install $(VENV) $*
	@touch $@

$(IN_VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Rheostat needs Python 3.11 or newer; $(PYTHON) is: $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	    echo "Install a newer one and name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make a virtual environment: its modules venv and ensurepip are not installed." >&2; \
	    echo "On Debian or Ubuntu: apt install python3-venv. Or name another Python:" \
	        "make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@[ ! -e $(VENV)/pyvenv.cfg ] || rm -rf $(VENV)
	@echo "Making a virtual environment in $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
