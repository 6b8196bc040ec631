# Two commands do everything: `make up` and `make test`. The rest is what they are made of.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
VAR    ?= var
TORCH  := $(shell grep -om1 'torch==[0-9.]*' pyproject.toml)
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check
STAMP  := $(VENV)/.installed

# OpenMP threads that spin while they wait take the cores from each other as soon as anything else runs.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: up setup bench test lint types protos proto-lint proto-drift imports format clean

up: setup  ## environment, data, training, all services, a feed on screen; Ctrl-C ends it
	@$(BIN)/explore --home $(VAR) quickstart

setup: $(STAMP)  ## the environment alone

# torch comes first and alone: a CPU build satisfies every later requirement, any other pulls gigabytes of CUDA. Set TORCH_INDEX to
# the index of PyTorch's CPU wheels if your default index has none.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) --editable ".[dev]"
	@touch $@

# What is asked with deadlines runs alone, all else on every core. `pytest` alone runs the same tests, one after the other.
test: setup  ## real servers, real Valkey, real ONNX sessions
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not stack"
	$(BIN)/python -m pytest -m stack

bench: setup  ## what a page costs, and how that grows; makes its own data, takes about an hour the first time
	$(BIN)/python -m benchmarks.cascade
	$(BIN)/python -m benchmarks.scaling

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup  ## who may import whom (docs/architecture.md)
	$(BIN)/lint-imports

protos: setup  ## regenerates protos/explore/v1/*_pb2*
	PATH="$(CURDIR)/$(BIN):$$PATH" protos/generate.sh

proto-lint: setup
	$(BIN)/buf lint protos

proto-drift: protos  ## fails if the generated code is not what the .proto files say
	@git diff --exit-code --stat -- protos || (echo "generated code differs from protos/: run 'make protos' and commit" && exit 1)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## data, bundles, user state and logs; keeps the environment
	rm -rf $(VAR)
