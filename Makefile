# Everything here makes the environment it needs; `make help` lists the targets.
# PYTHON may name the interpreter of the demo, the benchmarks and the docs.
PYTHON ?= $(shell .ci/python)
DEMO := .venv-demo
DOCS := .venv-docs

.DEFAULT_GOAL := help
.PHONY: help demo test test-others test-all test-slow test-django lint docs pictures page-pictures bench clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r target words; do \
		printf '  make %-13s %s\n' "$$target" "$$words"; done

demo: $(DEMO)/.installed ## Fill the marketplace, call its endpoints, print what they cost
	$(DEMO)/bin/python testproject/manage.py demo $(ARGS)
	$(DEMO)/bin/python testproject/manage.py demo_cache

test: ## Run everything but the long proofs on the newest Python found, and the checks
	@.ci/test

test-others: ## Run what can differ on every other Python found, each with one Django
	@.ci/test others

test-all: ## Run everything but the long proofs on every supported pair of Python and Django
	@.ci/test all

test-slow: ## Run the long proofs on the newest Python found
	@.ci/test slow

test-django: ## Run Django's own test suite with this library in it, without and with the cache
	@.ci/test-django

lint: .venv-tox/bin/tox ## Check style, types, import contracts and documentation alone
	.venv-tox/bin/tox run -e checks

docs: $(DOCS)/.installed ## Build the documentation into docs/_build/html
	$(DOCS)/bin/sphinx-build -W --keep-going -b html docs docs/_build/html

pictures: $(DEMO)/.installed ## Make the pictures of README and documentation from real output
	$(DEMO)/bin/python docs/pictures.py

page-pictures: .venv-pictures/.installed ## Make the pictures of production's page, with the system's Chromium
	.venv-pictures/bin/python docs/page_pictures.py

bench: $(DEMO)/.installed ## Measure what counting costs (caching: benchmarks/caching.py, views.py, hitrate.py, users.py)
	$(DEMO)/bin/python benchmarks/counting.py $(ARGS)

clean: ## Remove what these targets made
	rm -rf $(DEMO) $(DOCS) .venv-tox .tox .cache .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis docs/_build build dist *.egg-info
	rm -f testproject/*.sqlite3 testproject/*.sqlite3-*

# An environment is made again when what it installs has changed.
# Editable: it runs the sources of this tree.
.venv-%/.installed: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11+ found: name one with PYTHON=..." >&2; exit 1; }
	@echo "Installing .[$(EXTRAS)] in $(@D) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

$(DEMO)/.installed: EXTRAS = demo,mysql,postgres,redis
$(DOCS)/.installed: EXTRAS = docs
.venv-pictures/.installed: EXTRAS = test

.venv-tox/bin/tox:
	@test -n "$(PYTHON)" || { echo "No Python 3.11+ found: name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv-tox
	@.venv-tox/bin/python -m pip install --quiet --disable-pip-version-check 'tox>=4.30'
