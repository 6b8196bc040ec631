# Two commands do everything: `make up` and `make test`. The rest is what they are made of.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
VAR    ?= var
TORCH  := $(shell grep -om1 'torch==[0-9.]*' pyproject.toml)
PIP    := $(BIN)/pip install --quiet --no-compile --disable-pip-version-check
STAMP  := $(VENV)/.installed
RESOLVER := pip==26.3

# Images are built by podman or docker, whichever is there. Flags for its `build` go into IMAGE_FLAGS; what names a package mirror is
# handed on when it is set, and EXTRAS (serve by default, more by commas: EXTRAS=serve,s3). Each image has two names: podman takes
# the short one for localhost/, a pod for docker.io/library/. See docs/decisions/0022-images.md.
ENGINE      ?= $(firstword $(foreach engine,podman docker,$(shell command -v $(engine) >/dev/null 2>&1 && echo $(engine))))
IMAGES      ?= serve train
IMAGE_FLAGS ?=
BUILD_ARGS  := EXTRAS PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_TRUSTED_HOST PIP_CERT TORCH_INDEX DEBIAN_MIRROR

# OpenMP threads that spin while they wait take the cores from each other as soon as anything else runs.
export OMP_WAIT_POLICY ?= PASSIVE

# What is installed is compiled when it is first imported. Where nothing may be written then, each of a hundred processes would do it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up setup bench load test lint types protos proto-lint proto-drift imports audit sbom format images clean

up: setup  ## environment, data, training, all services, a feed on screen; Ctrl-C ends it
	@$(BIN)/explore --home $(VAR) quickstart

setup: $(STAMP)  ## the environment alone

# torch comes first and alone: a CPU build satisfies every later requirement, any other pulls gigabytes of CUDA. Set TORCH_INDEX to
# the index of PyTorch's CPU wheels if your default index has none.
$(STAMP): pyproject.toml | $(BIN)/pip
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) --editable ".[dev]"
	@touch $@

# The pip that a venv of Python 3.11 is born with takes much longer to find out what fits together.
$(BIN)/pip:
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) $(RESOLVER) || (rm $@ && exit 1)

# Of `make load`; the environment's HOST is the name of the machine, so only `make load HOST=…` counts.
HOST = 127.0.0.1:50050
RATE = 20
DURATION = 60
# More of them: loadtests/README.md.
OPTIONS =

load: setup  ## requests at RATE a second for DURATION seconds on the stack at HOST, which must run; fails if the SLO is missed
	@mkdir -p $(VAR)
	$(BIN)/locust -f loadtests/locustfile.py --headless --only-summary --host $(HOST) --rate $(RATE) --duration $(DURATION) --html $(VAR)/load.html $(OPTIONS)

# What is asked with deadlines runs alone, all else on every core. `pytest` alone runs the same tests, one after the other. Both
# parts use one trained workspace.
test: setup  ## real servers, real Valkey, real ONNX sessions
	trained=$$(mktemp -d) && trap 'rm -rf "$$trained"' EXIT && \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --trained="$$trained" -m "not stack" && \
	$(BIN)/python -m pytest --trained="$$trained" -m stack

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

# The advisories come from OSV's API: set OSV_URL to a mirror where it cannot be reached. --strict: what could not be looked up fails.
audit: setup  ## known vulnerabilities in what the serving images carry
	$(BIN)/python -m cli.inventory --pins $(VAR)/serve.txt
	$(BIN)/pip-audit --requirement $(VAR)/serve.txt --disable-pip --no-deps --strict --progress-spinner off \
	    --vulnerability-service osv $(if $(OSV_URL),--osv-url $(OSV_URL))

sbom: setup  ## their bill of materials: CycloneDX JSON
	$(BIN)/python -m cli.inventory $(VAR)/sbom.json

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

images:  ## explore-serve:local and explore-train:local; IMAGES=serve for the first alone
	@test -n "$(ENGINE)" || (echo "images need podman or docker; neither is on the PATH" && exit 1)
	@set -e; for image in $(IMAGES); do \
	    $(ENGINE) build $(IMAGE_FLAGS) $(foreach name,$(BUILD_ARGS),$(if $($(name)),--build-arg "$(name)=$($(name))")) \
	        --label org.opencontainers.image.version=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
	        --label org.opencontainers.image.revision=$$(git describe --always --dirty --abbrev=40) \
	        --target $$image --tag explore-$$image:local --tag docker.io/library/explore-$$image:local . ; \
	done

clean:  ## data, bundles, user state and logs; keeps the environment
	rm -rf $(VAR)
