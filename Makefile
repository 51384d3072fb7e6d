# make run     environment, sample corpus, the pipeline through the TFX CLI (CONFIG=my.toml: own data)
# make check   what to run before each commit: the checks and the fast tests
# make test    every check and every test
# make help    every target

CONFIG := pipeline/config/sample.toml
TESTS := tests

PYTHON := .venv/bin/python
SAMPLE := pipeline/config/sample.toml
COMPILE := .venv/uv/bin/uv pip compile pyproject.toml --quiet --system-certs --python-version 3.10 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --extra pipeline --extra dev

# One word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'

# The shell's own Python settings do not reach the project's environment.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONDONTWRITEBYTECODE
unexport PYTHONSAFEPATH PYTHONNOUSERSITE VIRTUAL_ENV CONDA_PREFIX __PYVENV_LAUNCHER__
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_NO_BINARY CDPATH
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help env gpu run serve check test static lint format types layers dependencies fast pytest
.PHONY: docs sample glove lock protos clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

env: ## build or update .venv from the hash-locked requirements
	@sh .ci/environment

gpu: ## the same with TensorFlow's CUDA libraries; stays so until make clean
	@sh .ci/environment requirements-gpu.lock

run: env ## the pipeline through the TFX CLI; CONFIG=my.toml for one's own data
ifeq ($(abspath $(CONFIG)),$(abspath $(SAMPLE)))
	@[ -f var/sample/input/papers.parquet ] && [ -f var/sample/input/vectors.txt ] \
		|| $(PYTHON) -m pipeline sample --if-absent
endif
	@ARXIV_PIPELINE_CONFIG=$(call quoted,$(CONFIG)) $(PYTHON) -m pipeline.launch.tfx_cli_session \
		'make run' $(if $(filter-out file,$(origin CONFIG)),$(call quoted,CONFIG=$(CONFIG)))

serve: env ## TF Serving on the pushed model, until Ctrl-C; CONFIG=my.toml for one's own
	@ARXIV_PIPELINE_CONFIG=$(call quoted,$(CONFIG)) $(PYTHON) -m pipeline serve

check: env ## format, lint, types, layers, dependencies and the fast tests; before each commit
	@start=$$(date +%s); $(MAKE) --no-print-directory static fast \
		&& echo "make check: $$(($$(date +%s) - start)) s"

test: static pytest ## every check and every test: .ci/run calls this

static: lint types layers dependencies

lint: env ## ruff: rules and format
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

format: env ## let ruff fix and format the code
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

types: env ## mypy
	@$(PYTHON) -m mypy

layers: env ## import-linter: imports go runners, graph, components
	@.venv/bin/lint-imports

# Once for the package, which must do without the dev extra, and once for everything.
dependencies: env ## deptry: every imported package is declared, every declared one is used
	@.venv/bin/deptry components pipeline
	@.venv/bin/deptry components pipeline benchmarks tests \
		--exclude '\.venv' --optional-dependencies-dev-groups gpu

fast: env ## the tests that train nothing and start no run
	@$(PYTHON) -m pytest -n 2 --dist loadfile -m 'not slow' --durations=5 $(TESTS)

# A file's tests stay together: they share what is costly, such as a whole run.
pytest: env ## the tests; TESTS=tests/components for some of them
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10 $(TESTS)

docs: env ## write real.toml and the generated pages anew; build the site into var/site
	@$(PYTHON) -m pipeline.config.reference --write
	@$(PYTHON) docs/generate.py
	@$(PYTHON) -m mkdocs build --strict

sample: env ## make the sample corpus and its vectors anew
	@$(PYTHON) -m pipeline sample

glove: env ## fetch the real GloVe vectors into var/glove
	@$(PYTHON) -m pipeline glove

lock: env ## resolve the requirements anew, with hashes
	@$(COMPILE) -o requirements.lock
	@$(COMPILE) --extra gpu -o requirements-gpu.lock

protos: env ## make the client's gRPC messages anew from their definitions
	@cd pipeline/client/transports && $(CURDIR)/$(PYTHON) -m grpc_tools.protoc -I. --descriptor_set_out=tf_serving.binpb tf_serving.proto

clean: ## remove the environment and everything that was made
	rm -rf .venv var build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
