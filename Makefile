# Two commands matter: `make demo` and `make test`. Both create .venv here when it is missing and install into it;
# nothing needs to be active. `make help` lists the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

# Which Python makes the environment; without it the first one found that is new enough. `make PYTHON=python3.13 test`
PYTHON ?=
# Tests at once: one more than the smallest machine that this is meant for has cores, for they wait as much as they work.
WORKERS ?= 3
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

# An active environment, a git hook or a shell profile must not bend what is installed or tested.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONWARNINGS PYTHONOPTIMIZE PYTHONSAFEPATH
unexport PYTHONINSPECT PYTHONNOUSERSITE PYTHONPLATLIBDIR PYTHONEXECUTABLE PYTHONDONTWRITEBYTECODE
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_PYTHON PIP_REQUIRE_VIRTUALENV PIP_NO_DEPS PIP_EDITABLE
unexport PIP_NO_BUILD_ISOLATION PIP_DRY_RUN PIP_REQUIREMENT PIP_LOG PIP_QUIET PIP_VERBOSE
unexport PYTEST_ADDOPTS PYTEST_PLUGINS PYTEST_DISABLE_PLUGIN_AUTOLOAD MYPYPATH RUFF_CONFIG RUFF_SELECT COVERAGE_RCFILE
unexport GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_PREFIX GIT_NAMESPACE

# Prints the Python to use, or says what this machine lacks and ends. Everything missing is said at once.
define find_python
	lacking=''; packages=''; \
	if ! command -v git >/dev/null 2>&1; then \
	    lacking="$$lacking git"; packages="$$packages git"; \
	elif ! git merge-tree -h 2>&1 | grep -q -e --write-tree; then \
	    echo "make: $$(git --version) is too old: git 2.38 or later is needed." >&2; exit 1; \
	fi; \
	python=''; found=''; \
	for candidate in $(if $(PYTHON),'$(PYTHON)',python3 python3.14 python3.13 python3.12 python3.11); do \
	    version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    found="$$found $$candidate is $$version;"; \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	if [ -z "$$python" ]; then \
	    lacking="$$lacking python3>=3.11"; packages="$$packages python3 python3-venv"; \
	    [ -z "$$found" ] || echo "make: Python 3.11 or later is needed, but$${found%;}." >&2; \
	    $(if $(PYTHON),[ -n "$$found" ] || echo "make: PYTHON='$(PYTHON)' does not run." >&2;) \
	elif ! "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	    lacking="$$lacking venv/ensurepip(of-$$python)"; packages="$$packages python3-venv"; \
	fi; \
	if [ -n "$$lacking" ]; then \
	    echo "make: missing on this machine:$$lacking" >&2; \
	    echo "make: install with: sudo apt-get install$$packages" >&2; \
	    exit 1; \
	fi
endef

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

.PHONY: demo
demo: install ## Execute an example milestone in a scratch repository, with the live view
	@$(BIN)/python examples/demo.py

.PHONY: test
test: lint types ## Install, then pass lint, types and all tests
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal; code=$$?; echo $$code >$(VENV)/.tests; exit $$code

.PHONY: lint
lint: install ## Check the rules and the format of the code
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check

.PHONY: types
types: install ## Check the types
	$(BIN)/python -m mypy

.PHONY: man
man: install ## Make the manual pages (docs/man) anew from the commands' own help
	$(BIN)/python -m docs.manpages

.PHONY: pictures
pictures: install ## Take the README's picture anew, off a terminal of tmux
	$(BIN)/python -m tests.pictures

.PHONY: coverage
coverage: install ## Run the tests and show which lines and branches they miss
	$(BIN)/python -m pytest --cov --cov-report=term

# One after the other and alone: they measure ratios, and a busy machine bends even those.
BENCHES := reader plan journal restart tasks makespan idle git sampling control status growth

.PHONY: bench
bench: install ## Measure what docs/benchmarks.md lists
	@for one in $(BENCHES); do echo "== bench/$$one.py"; $(BIN)/python -m bench.$$one || exit 1; done

# Directories with programs to compare with that are not on PATH: make bench-restart PEERS='DIR DIR'
PEERS ?=

.PHONY: bench-restart
bench-restart: install ## Crash to ready beside a bare fork, and beside PM2, runit, Supervisor and others
	@$(BIN)/python -m bench.restart
	@$(BIN)/python -m bench.peers $(addprefix --path ,$(PEERS))

KILLS ?= 1000
SEED ?= 0

.PHONY: storm
storm: install ## Kill and stop children of a tree at random; compare the books: make storm KILLS=1000 SEED=7
	$(BIN)/python -m tests.health.storm --kills $(KILLS) --seed $(SEED)

.PHONY: damage
damage: install ## Damage every byte of a journal in eleven ways, and cut it everywhere; about fifteen minutes
	$(BIN)/python -m tests.journal.damage

.PHONY: steps
steps: install ## Kill at every named step of every process, alone and all together, the first two times each
	MILESTONED_TEST_STEPS=every $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal tests/steps

STEPS ?= 50000

.PHONY: model
model: install ## Drive sessions against a small model of one, in virtual time: make model STEPS=50000 SEED=7
	$(BIN)/python -m tests.model.long --steps $(STEPS) --seed $(SEED)

# Histories of supervision trees in virtual time: how long, from which seed, and where failing ones are kept.
MINUTES ?= 10
KEEP ?= .

.PHONY: soak
soak: install ## Simulate random histories of supervisors (MINUTES, SEED, KEEP)
	$(BIN)/python -m tests.simulation.soak --minutes $(MINUTES) --seed $(SEED) --keep '$(KEEP)'

# How many times slower than an idle one the machine may be taken for; 1 is what is promised.
ROUNDS ?= 26
SLACK ?= 1

.PHONY: chaos
chaos: install ## Run generated milestones under random faults and judge what came of it: make chaos SEED=7 ROUNDS=50
	$(BIN)/python -m tests.chaos.harness --seed $(SEED) --rounds $(ROUNDS) --slack $(SLACK) $(if $(filter-out file,$(origin KEEP)),--keep '$(KEEP)')

.PHONY: chaos-broken
chaos-broken: install ## Plant bugs in copies of the packages; chaos has to catch each
	$(BIN)/python -m tests.chaos.broken

.PHONY: install
install: check-tools $(STAMP) ## Create .venv and install milestoned and its tools into it

.PHONY: check-tools
check-tools: ## Say whether git, Python and its venv module are there
	@$(find_python)

# Made again when what to install changes, when its Python is gone, or when the checkout has moved.
$(STAMP): pyproject.toml setup.cfg $(shell [ -x $(BIN)/python ] && [ "$$(cat $(STAMP) 2>/dev/null)" = '$(CURDIR)' ] || echo rebuild)
	@$(find_python); \
	echo "Creating $(VENV) with $$($$python --version) ..."; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@echo "Installing milestoned and its tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-user --editable '.[dev]'
	@printf '%s\n' '$(CURDIR)' >$@

.PHONY: rebuild
rebuild:

.PHONY: clean
clean: ## Remove .venv and everything that a tool has made here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
