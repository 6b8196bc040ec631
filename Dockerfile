# Two images, made by `make images` (docs/decisions/0022-images.md): `serve`, the five services without torch, run as
# `python -m gateway`, `python -m rank_svc` and so on from a read-only root; `train`, the `explore` command, which makes bundles.
# Behind a mirror, pip's own settings are build arguments (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST, ...), as are
# TORCH_INDEX for PyTorch's CPU wheels and DEBIAN_MIRROR for binutils. They are there while builder stages run, and in no layer of an
# image.

# A Debian 12 root with python3.11 and python3.11-venv serves as well as the official image.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS builder
ARG PYTHON=python3.11
ENV PIP_NO_CACHE_DIR=1 PIP_COMPILE=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# pip lives beside the environment that it fills: no image needs it. The user has a name, since some libraries ask for one.
RUN ${PYTHON} -m venv /opt/pip && ${PYTHON} -m venv --without-pip /opt/explore \
    && echo 'explore:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'explore:x:10001:' >> /etc/group \
    && mkdir -p /var/explore/bundles
WORKDIR /src
# What is installed depends on these two files alone, so a change of code builds in seconds. The project itself is still empty here.
COPY pyproject.toml README.md ./

FROM builder AS serve-builder
ARG DEBIAN_MIRROR
RUN if [ -n "$DEBIAN_MIRROR" ]; then \
        rm -f /etc/apt/sources.list.d/* && echo "deb $DEBIAN_MIRROR bookworm main" > /etc/apt/sources.list; \
    fi && apt-get update -q && apt-get install -q -y --no-install-recommends binutils
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
ARG PIP_CERT
# "serve,NAME" adds what another extra of pyproject.toml holds.
ARG EXTRAS=serve
RUN /opt/pip/bin/pip --python /opt/explore/bin/python install ".[$EXTRAS]"
# A hundred megabytes: symbols (not of the libraries that auditwheel patched, which strip can break), tests, a second copy of ONNX
# Runtime that only C programs would link to, and its tools for making models.
RUN find /opt/explore -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} + \
    && find /opt/explore -type d -name tests -prune -exec rm -r {} + \
    && cd /opt/explore/lib/python*/site-packages/onnxruntime \
    && rm -rf capi/libonnxruntime.so.* transformers quantization tools
COPY . .
RUN /opt/pip/bin/pip --python /opt/explore/bin/python install --no-deps --force-reinstall . \
    && cd /opt/explore && rm -r lib/python*/site-packages/training lib/python*/site-packages/cli bin/explore
# A read-only root keeps no bytecode, so it is made here, for what the services import; that they can be imported is thereby shown.
RUN cd / && PYTHONDONTWRITEBYTECODE=1 /opt/explore/bin/python -c "import sys, gateway.__main__, retrieval_svc.__main__, \
prerank_svc.__main__, rank_svc.__main__, rerank_svc.__main__, colocated.__main__, polars; \
print(*sorted({f for m in list(sys.modules.values()) if (f := getattr(m, '__file__', None) or '').endswith('.py')}), sep='\n')" \
        > /tmp/imported && PYTHONPYCACHEPREFIX=/opt/explore/bytecode \
        /opt/explore/bin/python -m compileall -q --invalidation-mode unchecked-hash -i /tmp/imported

FROM builder AS train-builder
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
ARG PIP_CERT
ARG TORCH_INDEX
ARG EXTRAS=serve
# Torch comes first and alone: a CPU build satisfies every later requirement, any other pulls gigabytes of CUDA.
RUN /opt/pip/bin/pip --python /opt/explore/bin/python install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
        "$(grep -om1 'torch==[0-9.]*' pyproject.toml)" \
    && /opt/pip/bin/pip --python /opt/explore/bin/python install ".[cli,$EXTRAS]"
COPY . .
RUN /opt/pip/bin/pip --python /opt/explore/bin/python install --no-deps --force-reinstall .

# What is shipped: the base image and files. Nothing runs from here on, so nothing that a build mounts leaves a trace.
FROM ${BASE} AS base
COPY --from=builder /etc/passwd /etc/group /etc/
COPY --from=builder --chown=10001:10001 /var/explore /var/explore
# /tmp is the only place that a read-only container needs to write to.
ENV PATH=/opt/explore/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
WORKDIR /var/explore
ARG BASE
# `make images` adds version and revision, which change with every commit, as labels of the finished image.
LABEL org.opencontainers.image.licenses=Apache-2.0 org.opencontainers.image.base.name=${BASE}

FROM base AS train
COPY --from=train-builder /opt/explore /opt/explore
LABEL org.opencontainers.image.title=explore-train \
      org.opencontainers.image.description="The explore command: data sets, training, bundles, and a stack on one machine"
USER 10001:10001
CMD ["explore", "--home", "/var/explore", "--help"]

FROM base AS serve
COPY --from=serve-builder /opt/explore /opt/explore
# gRPC without its event engine, which costs a hop a sixth more CPU (docs/performance.md).
ENV PYTHONPYCACHEPREFIX=/opt/explore/bytecode EXPLORE_BUNDLE_ROOT=/var/explore/bundles \
    GRPC_EXPERIMENTS=-event_engine_client,-event_engine_listener
LABEL org.opencontainers.image.title=explore-serve \
      org.opencontainers.image.description="Gateway, retrieval and the three ranking stages of Explore"
USER 10001:10001
CMD ["python", "-m", "gateway"]
