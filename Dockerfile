# syntax=docker/dockerfile:1

# docker build --target gpu -t sdrpn:gpu .    one or several GPUs of one machine
# docker build --target cpu -t sdrpn:cpu .    no GPU: the small model that ships, or one of yours
#
# Run it with a read-only root: what a server writes goes to the volume /cache, its home (models,
# compiled kernels), and to /tmp; tensor parallelism also wants shared memory.
#   docker run --read-only --tmpfs /tmp --shm-size 8g --gpus all -p 8000:8000 \
#     -v models:/cache sdrpn:gpu Qwen/Qwen2.5-VL-7B-Instruct --rpn /cache/rpn

ARG VLLM_VERSION=v0.32.0
ARG PYTHON_VERSION=3.11

# --- sdrpn itself, the same wheel for every target

FROM python:${PYTHON_VERSION}-slim-bookworm AS wheel
WORKDIR /src
COPY requirements/cpu.lock requirements/
RUN grep -E '^setuptools==' requirements/cpu.lock > build.txt \
  && python -m pip install --no-cache-dir -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY rpn_plugin rpn_plugin
COPY server server
COPY demo/model demo/model
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist .

# --- CPU

FROM python:${PYTHON_VERSION}-slim-bookworm AS cpu-packages
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml ./
COPY requirements requirements
# torch's CPU build is on an index of PyTorch's own. The lock also holds what only tests use.
RUN --mount=type=cache,target=/root/.cache/pip \
  python -m venv --without-pip /opt/sdrpn \
  && grep -E '^torch==' requirements/cpu.lock > torch.txt \
  && python -m pip --python /opt/sdrpn install --no-deps --extra-index-url ${TORCH_CPU_INDEX} -r torch.txt \
  && python -m pip --python /opt/sdrpn install --no-deps -r requirements/cpu.lock \
  && /opt/sdrpn/bin/python requirements/unneeded.py --extra cpu > unneeded.txt \
  && python -m pip --python /opt/sdrpn uninstall --yes -r unneeded.txt

FROM python:${PYTHON_VERSION}-slim-bookworm AS cpu
# vLLM's CPU kernels link to libnuma; its version is Debian's business.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends libnuma1 \
  && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /cache sdrpn \
  && install -d -o 10001 -g 0 -m 0770 /cache
COPY --from=cpu-packages /opt/sdrpn /opt/sdrpn
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
  python -m pip --python /opt/sdrpn install --no-cache-dir --no-deps /dist/*.whl \
  && /opt/sdrpn/bin/python -m rpn_plugin.torchvision_ops
# There is no compiler in here: serve a model of your own with --enforce-eager.
ENV PATH=/opt/sdrpn/bin:$PATH \
  HOME=/cache
VOLUME /cache
USER 10001:0
WORKDIR /cache
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=12s --start-period=30m --retries=4 \
  CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=10)"]
ENTRYPOINT ["sdrpn", "serve", "--host=0.0.0.0", "--port=8000"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sdrpn (CPU)" \
  org.opencontainers.image.description="Vision-language models with a second, sharper look, on vLLM" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"

# --- GPU: vLLM's own image; sdrpn asks for no more than vLLM does, but for SciPy

FROM vllm/vllm-openai:${VLLM_VERSION} AS gpu
# What is there stays as it is: the wheel's requirements have lower bounds only.
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
  uv pip install --system --no-cache /dist/*.whl
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /cache sdrpn \
  && install -d -o 10001 -g 0 -m 0770 /cache
# What follows is the CPU target's too: images of different bases cannot inherit it.
ENV HOME=/cache \
  TORCHINDUCTOR_CACHE_DIR=/cache/inductor
VOLUME /cache
USER 10001:0
WORKDIR /cache
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=12s --start-period=30m --retries=4 \
  CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=10)"]
ENTRYPOINT ["sdrpn", "serve", "--host=0.0.0.0", "--port=8000"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sdrpn (GPU)" \
  org.opencontainers.image.description="Vision-language models with a second, sharper look, on vLLM" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
