# make run     environment, sample corpus, the pipeline through the TFX CLI (CONFIG=my.toml: own data)
# make test    environment, lint, format, types, layers, tests
# make help    every target

CONFIG := pipeline/config/sample.toml
TESTS := tests

PYTHON := .venv/bin/python
SAMPLE := pipeline/config/sample.toml

# One word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'

# The shell's own Python settings do not reach the project's environment.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONDONTWRITEBYTECODE
unexport PYTHONSAFEPATH PYTHONNOUSERSITE VIRTUAL_ENV CONDA_PREFIX __PYVENV_LAUNCHER__
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_NO_BINARY CDPATH
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help env gpu run serve test lint format types layers pytest sample glove lock protos clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

env: ## build or update .venv from the hash-locked requirements
	@sh .ci/environment

gpu: ## the same with TensorFlow's CUDA libraries; stays so until make clean
	@sh .ci/environment requirements-gpu.lock

run: env ## the pipeline through the TFX CLI; CONFIG=my.toml for one's own data
ifeq ($(abspath $(CONFIG)),$(abspath $(SAMPLE)))
	@ARXIV_PIPELINE_CONFIG=$(SAMPLE) $(PYTHON) -m pipeline sample --if-absent
endif
	@ARXIV_PIPELINE_CONFIG=$(call quoted,$(CONFIG)) $(PYTHON) -m pipeline.launch.tfx_cli_session \
		'make run' $(if $(filter-out file,$(origin CONFIG)),$(call quoted,CONFIG=$(CONFIG)))

serve: env ## TF Serving on the pushed model, until Ctrl-C; CONFIG=my.toml for one's own
	@ARXIV_PIPELINE_CONFIG=$(call quoted,$(CONFIG)) $(PYTHON) -m pipeline serve

test: lint types layers pytest ## every check: .ci/run calls this

lint: env ## ruff: rules and format
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

format: env ## let ruff mend and format the code
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

types: env ## mypy
	@$(PYTHON) -m mypy

layers: env ## import-linter: imports go runners, graph, components
	@.venv/bin/lint-imports

# A file's tests stay together: they share what is costly, such as a whole run.
pytest: env ## the tests; TESTS=tests/components for some of them
	@$(PYTHON) -m pytest -n 2 --dist loadfile $(TESTS)

sample: env ## make the sample corpus and its vectors anew
	@$(PYTHON) -m pipeline sample

glove: env ## fetch the real GloVe vectors into var/glove
	@$(PYTHON) -m pipeline glove

lock: env ## resolve the requirements anew, with hashes
	@.venv/uv/bin/uv pip compile pyproject.toml --quiet --system-certs --extra dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --python-version 3.10 -o requirements.lock
	@.venv/uv/bin/uv pip compile pyproject.toml --quiet --system-certs --extra dev --extra gpu --generate-hashes \
		--no-emit-index-url --no-emit-find-links --python-version 3.10 -o requirements-gpu.lock

protos: env ## make the client's gRPC messages anew from their definitions
	@$(PYTHON) -m grpc_tools.protoc -I. --python_out=. pipeline/client/transports/tf_serving.proto

clean: ## remove the environment and everything that was made
	rm -rf .venv var build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
