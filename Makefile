# The developer's whole vocabulary: `make` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
STATE := $(or $(STAGECOACH_STATE),$(HOME)/.cache/stagecoach)
export PYTHONPATH := operator:images/trainer:images/evaluator:images/gateway:plugin:.
export PATH := $(STATE)/bin:$(PATH)
TORCH_VERSION ?= 2.13.0
export TORCH_VERSION
# Many short processes run in tests: operators, their workers. Without bytecode each compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
# Most tests wait most of the time; on a small machine, too, several of them run beside each other.
PROCESSES ?= -n 4

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-20s %s\n", $$1, $$2}'

.PHONY: demo
demo: setup  ## a cluster, the operator, the example: from nothing to a fine-tuned model
	$(PY) examples/demo.py

.PHONY: test test-all
test: setup  ## what has to hold before a change goes on, as continuous integration runs it: all but the long tests
test-all: setup  ## everything that has to hold, for a release: the long tests as well
test test-all:
	@# What uses one processor, or mostly waits for the network and the disk, goes beside tests that use them all. The tests
	@# of trainer and evaluator run once, in their images and with their libraries: by test-images.
	$(MAKE) --jobs=2 lint test-unit UNIT="tests/unit --ignore=tests/unit/trainer --ignore=tests/unit/evaluator $(if $(filter test,$@),-m 'not long')"
	$(MAKE) --jobs=2 test-integration images $(if $(filter test,$@),INTEGRATION="tests/integration -m 'not long'")
	$(MAKE) test-e2e $(if $(filter test,$@),E2E="tests/e2e -m 'not long'")
	$(MAKE) test-images $(if $(filter test,$@),IMAGES="-m 'not long'")

.PHONY: lint
lint: setup  ## formatting, style, types, layering, generated files
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m stagecoach.api.crds --check crds charts/stagecoach/files/crds
	$(PY) -m charts.dashboards --check charts/stagecoach/files/dashboards

.PHONY: test-unit
test-unit: setup  ## pure functions and small programs, no cluster
	$(PY) -m pytest $(PROCESSES) --dist loadfile $(or $(UNIT),tests/unit)

.PHONY: test-integration
test-integration: setup  ## the operator and the chart against a real API server, no nodes
	$(PY) -m pytest $(PROCESSES) --dist loadscope --no-loadscope-reorder -rs $(or $(INTEGRATION),tests/integration)

.PHONY: fuzz
fuzz: setup  ## many specs of each kind, valid and broken, against a real API server: SPECS=1000 SEED=<the one to repeat>
	FUZZ_SPECS=$(or $(SPECS),1000) FUZZ_SEED=$(or $(SEED),$$RANDOM) $(PY) -m pytest -s tests/integration/kinds/test_fuzz.py

.PHONY: test-e2e
test-e2e: setup  ## real nodes, containers and training
	@# Without those in images: they use all processors for long, and an engine beside them would be slow to start.
	$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder -rs --durations=30 --ignore=$(TESTS_IN_IMAGES) $(or $(E2E),tests/e2e)

TESTS_IN_IMAGES := tests/e2e/test_images.py
.PHONY: test-images
test-images: setup  ## the tests of trainer and evaluator, in their images and with their libraries: real trainings of tiny models
	$(PY) -m pytest -rs --capture=no $(TESTS_IN_IMAGES) $(IMAGES)

.PHONY: images
images: setup  ## build the images that demo and test-e2e use
	nice $(PY) -m tests.deploy

.PHONY: check-cuda-image
check-cuda-image: setup  ## build the trainer's image for GPUs: it downloads 5 GB, and needs 25 GB of disk for a while
	$(PY) -m tests.cuda_image

.PHONY: check-banking77
check-banking77: setup  ## runs and gates on real data, each number computed twice: BANKING77=<folder with train.csv and test.csv>
	$(PY) -m tests.banking77 "$(BANKING77)"

.PHONY: bench-training
bench-training: setup  ## tokens per second of the trainer, as a ratio to a bare script: TURNS=8
	$(PY) -m tests.bench training --turns $(or $(TURNS),8)

.PHONY: bench-evaluation
bench-evaluation: setup  ## rows per second of the evaluator, as a ratio to lm-evaluation-harness: TURNS=12
	$(PY) -m tests.bench evaluation --turns $(or $(TURNS),12)

.PHONY: bench-scale
bench-scale: setup  ## many runs beside as many bare Jobs, on nodes that are simulated: RUNS=1000
	$(PY) -m tests.bench.scale --runs $(or $(RUNS),1000)

.PHONY: bench-gates
bench-gates: setup  ## how often a gate errs, by simulated gates whose truth is known: GATES=600
	$(PY) -m tests.bench.gates --gates $(or $(GATES),600)

.PHONY: bench-gateway
bench-gateway: setup  ## requests per second of the gateway, beside LiteLLM and nginx where they are: SECONDS=5
	$(PY) -m tests.bench.gateway --seconds $(or $(SECONDS),5)

.PHONY: soak
soak: setup  ## random faults under runs, gates and a deployment, and a verdict on what has to hold: MINUTES=15 SEED=n
	$(PY) -m tests.soak --minutes $(or $(MINUTES),15) $(if $(SEED),--seed $(SEED))

.PHONY: setup
setup: $(VENV)/.ready  ## the developer's environment in .venv

$(VENV)/.ready: locks/dev.txt
	@echo 'developer tools into $(VENV): a minute'
	python3 -m venv --clear $(VENV) || { apt-get update -qq && apt-get install -y -qq python3-venv && python3 -m venv --clear $(VENV); }
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	touch $@

.PHONY: format
format: setup  ## format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: generate
generate: setup  ## write the CustomResourceDefinitions from the models, and the dashboards
	$(PY) -m stagecoach.api.crds crds charts/stagecoach/files/crds
	$(PY) -m charts.dashboards charts/stagecoach/files/dashboards

LOCK := $(VENV)/bin/uv pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11
# With a CPU build of torch at hand: the libraries of CUDA are pinned by torch itself. torch is the image's argument.
LOCK_TRAINER = $(VENV)/bin/uv pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url --no-header \
	--no-emit-find-links --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--extra trainer --find-links $(WHEELS) --no-emit-package torch --no-emit-package triton
# Of a server that only takes what it is told, in the trainer's image of tests: the rest is for training and for drawing.
LOCK_MLFLOW := $(VENV)/bin/uv pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url --no-header \
	--no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 --extra mlflow \
	$(addprefix --no-emit-package=,scikit-learn scipy skops joblib threadpoolctl narwhals matplotlib contourpy cycler \
	fonttools kiwisolver pillow pyparsing docker prettytable wcwidth gunicorn pyarrow)
# What comes on top of the trainer's, as these are: the evaluator's image is made of the trainer's. Without what
# lm-evaluation-harness needs for some tasks, for tables and for a cache: what only these need is not in the image, and
# the licence of chardet would not let it be.
LOCK_EVALUATOR = $(LOCK_TRAINER) --extra evaluator --extra harness \
	$(addprefix --no-emit-package=,evaluate pytablewriter dataproperty mbstrdecoder chardet pathvalidate tabledata tcolorpy \
	typepy pytz rouge-score absl-py nltk sqlitedict word2number more-itertools defusedxml) \
	$$(sed -n 's/==.*//p' locks/trainer.txt | sed 's/^/--no-emit-package=/')
# Without what an engine on a CPU never imports, what its licence or that of a library inside keeps out of the image
# (intel-openmp, opencv, pycountry), and the decoders of pictures and sounds.
LOCK_ENGINE_CPU = $(VENV)/bin/uv pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url --no-header \
	--no-emit-find-links --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--extra engine-cpu --find-links $(WHEELS) --override <(printf "%s; python_version < '3'\n" torchaudio torchcodec torchvision) \
	$(addprefix --no-emit-package=,torch triton intel-openmp intel-cmplr-lib-ur opencv-python-headless pycountry mistral-common \
	numba llvmlite anthropic depyf astor dill ninja fastapi-cli fastapi-cloud-cli sentry-sdk rignore fastar rich-toolkit \
	agent-detector detect-installer mcp mcp-types pyjwt cryptography cffi pycparser sse-starlette pydantic-settings grpcio \
	googleapis-common-protos opentelemetry-exporter-otlp opentelemetry-exporter-otlp-common \
	opentelemetry-exporter-otlp-proto-common opentelemetry-exporter-otlp-proto-grpc \
	opentelemetry-exporter-otlp-proto-http opentelemetry-exporter-http-transport opentelemetry-proto opentelemetry-sdk \
	opentelemetry-api opentelemetry-semantic-conventions opentelemetry-semantic-conventions-ai dnspython \
	email-validator)
# Without what tokenizers would fetch files from a hub with: the gateway's are mounted.
LOCK_GATEWAY := $(LOCK) --no-annotate --extra gateway $(addprefix --no-emit-package=,huggingface-hub hf-xet httpx2 httpcore2 \
	httpx2-jsfetch truststore anyio h11 idna tqdm filelock pyyaml packaging click colorama)
# Of people's own machines, of any kind: what the developers' tests use.
LOCK_PLUGIN := $(subst compile pyproject.toml,compile plugin/pyproject.toml,$(LOCK))
.PHONY: lock
lock: setup  ## pin the dependencies in locks/ anew, with hashes
	$(LOCK) --extra operator -o locks/operator.txt
	$(LOCK_GATEWAY) -c locks/operator.txt -o locks/gateway.txt
	$(LOCK) --extra operator --extra evaluator --extra gateway --extra dev -c locks/operator.txt -o locks/dev.txt
	@ls $(WHEELS)/torch-$(TORCH_VERSION)+cpu-*.whl > /dev/null || { echo "set WHEELS to a folder with a CPU build of torch"; exit 1; }
	$(LOCK_TRAINER) -c <(echo "torch==$(TORCH_VERSION)+cpu") -o locks/trainer.txt
	$(LOCK_EVALUATOR) -c <(echo "torch==$(TORCH_VERSION)+cpu") -c locks/trainer.txt -o locks/evaluator.txt
	$(LOCK_MLFLOW) -o locks/mlflow.txt
	$(LOCK_PLUGIN) -c locks/dev.txt -o locks/plugin.txt
	$(LOCK_ENGINE_CPU) -c <(echo "torch==$(TORCH_VERSION)+cpu") -o locks/engine-cpu.txt

.PHONY: cluster-up
cluster-up: setup  ## the cluster that test-e2e and demo use
	$(PY) -m tests.cluster up

.PHONY: cluster-down
cluster-down: setup  ## stop it and remove all that it left
	$(PY) -m tests.cluster down

.PHONY: clean-caches
clean-caches: setup  ## stop the cluster, and remove what was built and downloaded for it
	$(PY) -m tests.cluster down --purge

.PHONY: clean
clean:  ## remove what was generated here (not the cluster)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
