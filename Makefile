# `make run` and `make test` set up .venv from the lock by themselves; TORCH=cpu takes the build of torch for the CPU.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install
SYNC := $(BIN)/uv pip sync --compile-bytecode --python $(BIN)/python
COMPILE := uv pip compile --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
  --no-emit-find-links --no-emit-package bss --upgrade pyproject.toml
CPU := $(filter cpu,$(TORCH))
$(if $(filter-out cpu,$(TORCH)),$(error TORCH=$(TORCH): the choice is TORCH=cpu, or nothing for the build with CUDA))
export PATH := $(abspath $(BIN)):$(PATH)
export DO_NOT_TRACK := 1

.PHONY: run site ui retrain gate test test-all test-faults test-distribute test-ui bench screenshots lint lock clean

run: $(VENV)/ready  ## the main job: the whole pipeline through the Prefect flow
	bss run

ui: $(VENV)/ready  ## Prefect's pages for this workspace, with a worker; PORT=4300 for another port
	@bss ui $(if $(PORT),--port $(PORT))

retrain: $(VENV)/ready  ## what dvc.lock has no results for, compared with BASE (HEAD): fails where a row loses too much
	bss retrain $(if $(BASE),--base "$(BASE)")

gate: $(VENV)/ready  ## the stages that `make retrain` would run; needs no data
	bss retrain --dry

test: $(VENV)/integrations lint  ## format, lint, types and the test suite
	python -m pytest -n 2 --dist loadgroup

test-all: $(VENV)/integrations lint  ## the suite with what repeats it at greater length, as a nightly job runs it
	python -m pytest -n 2 --dist loadgroup --nightly --ui --distribute --kills 20

test-faults: $(VENV)/ready  ## kills a run at 20 moments and compares what it leaves; SEED=1 for other moments
	python -m pytest tests/flows/workspace/test_faults.py --nightly -s --kills 20 --faults-seed $(or $(SEED),0)

test-distribute: $(VENV)/ready  ## a grid over two workers of a Prefect work pool, with a shared remote; its server killed
	python -m pytest tests/flows/machines --distribute

test-ui: $(VENV)/ready  ## what make ui starts, killed and stopped in every way
	python -m pytest tests/flows/pages/test_deployments.py tests/flows/pages/test_ui_browser.py --ui

bench: $(VENV)/ready  ## every benchmark, on a quiet machine (three quarters of an hour), into docs/benchmarks.md
	python -m benchmarks

screenshots: $(VENV)/ready  ## the pictures of the report in docs/images, from reports/report.html; needs Chromium
	python -m docs.screenshots

site: $(VENV)/integrations  ## README and docs/ as a site with search and the API reference, in .site/
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

lint: $(VENV)/ready
	ruff format --check .
	ruff check .
	mypy

lock:  ## write both locks anew, from the ranges in pyproject.toml
	$(COMPILE) --extra dev -o requirements.lock
	$(COMPILE) --extra integrations --constraint requirements.lock -o requirements.integrations.lock

# uv installs in seconds what pip installs in minutes; where uv cannot reach an index that pip can, pip does it.
# The build of torch for the CPU is of the same version and needs none of the libraries of CUDA, which the lock names;
# uv knows where it is.
$(VENV)/packages: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and f"bss needs Python 3.11 or newer, and $(PYTHON) is {v}; try: make PYTHON=python3.12 ...")'
	@echo "setting up $(VENV) (once; $(if $(CPU),torch for the CPU alone,7 GB; without a GPU 'make run TORCH=cpu' takes 2 GB)) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) -q $$(grep -o "^uv==[^ ]*" requirements.lock) $(if $(CPU),,|| true)
ifdef CPU
	@grep -Ev "^(nvidia-|cuda-|triton=)" requirements.lock > $(VENV)/requirements.lock
	@$(SYNC) --torch-backend cpu $(VENV)/requirements.lock
else
	@$(SYNC) requirements.lock || $(PIP) -r requirements.lock
endif
	@touch $@

$(VENV)/ready: $(VENV)/packages
	@$(PIP) -q --no-deps --no-build-isolation -e .
	@touch $@

# What the suite tries beside the pipeline: other trainers, loggers, search, export. `make run` needs none of it.
$(VENV)/integrations: requirements.integrations.lock $(VENV)/ready
	@grep -vxFf requirements.lock requirements.integrations.lock > $(VENV)/integrations.lock
	@$(BIN)/uv pip install -q --no-deps --python $(BIN)/python -r $(VENV)/integrations.lock || \
	  $(PIP) -q --no-deps -r $(VENV)/integrations.lock
	@touch $@

clean:  ## every artifact and the environment; the cache of results stays
	rm -rf $(VENV) data/packed data/methods data/scores data/curricula models/*/ reports/predictions reports/report.html reports/summary.*
