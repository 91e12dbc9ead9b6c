# make serve        install into .venv, then serve the shipped model on 127.0.0.1:8000
# make check        install, then formatter check, linter, strict type check and the unit tests: a minute
# make test         install (Debian packages too), then formatter check, linter, strict type check and all tests
# make demo-model   train the shipped model again from nothing (about two hours on two cores)
# make demo-eval    measure the shipped model through a running endpoint, on pages it never saw
# make wheel        build sdrpn's wheel into dist/
# make image        build the container image: TARGET=cpu (the default) or gpu
# make lock         resolve the CPU environment afresh and write requirements/cpu.lock

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
PORT ?= 8000
TARGET ?= cpu
IMAGE ?= sdrpn:$(TARGET)
RUN := $(VENV)/bin/python
LOCK := requirements/cpu.lock
SYSTEM := requirements/system.txt
INSTALLED := $(VENV)/.installed
TOOLS := $(patsubst %,$(VENV)/%/.installed,lmms-eval guidellm aiperf)
# PyPI's torch is a CUDA build; the CPU build is on PyTorch's own index, unless pip finds it already.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(RUN) -m pip --disable-pip-version-check

.PHONY: help install serve system check test demo-model demo-eval wheel image lock clean

help:
	@sed -n 's/^# make/make/p' Makefile

install: $(INSTALLED)

$(INSTALLED): $(LOCK) pyproject.toml
	@python=$$(for p in $${PYTHON:-} python3.11 python3.12 python3.13 python3; do \
	  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	    && { echo "$$p"; break; }; done; true); \
	[ -n "$$python" ] || { echo "sdrpn needs Python 3.11, 3.12 or 3.13: install one, or set PYTHON=/path/to/python" >&2; exit 1; }; \
	[ "$$(uname -s)" = Linux ] || { echo "sdrpn needs Linux: vLLM has no build for $$(uname -s)" >&2; exit 1; }; \
	echo "==> $(VENV): a virtual environment of $$("$$python" --version)"; \
	"$$python" -m venv $(VENV) || { echo "python's venv module does not work: install it (Debian: apt install python3-venv)" >&2; exit 1; }
	@torch=$$(grep -o '^torch==.*' $(LOCK)); \
	echo "==> 1/3 $$torch"; \
	$(PIP) install --progress-bar on --no-deps "$$torch" 2>/dev/null \
	  || $(PIP) install --progress-bar on --no-deps --index-url $(TORCH_CPU_INDEX) "$$torch" \
	  || { echo "could not install $$torch: is the network reachable?" >&2; exit 1; }
	@echo "==> 2/3 $$(grep -c == $(LOCK)) packages of $(LOCK), a few minutes the first time"; \
	$(PIP) install --progress-bar on --no-deps -r $(LOCK) | grep -v 'already satisfied' \
	  || { [ "$${PIPESTATUS[0]}" = 0 ] || { echo "could not install $(LOCK): see pip's message above" >&2; exit 1; }; }
	@echo "==> 3/3 sdrpn itself"; \
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .; \
	$(RUN) -W ignore::RuntimeWarning -m rpn_plugin.torchvision_ops; \
	touch $(INSTALLED)

serve: $(INSTALLED)
	@exec $(VENV)/bin/sdrpn serve --port $(PORT)

# Debian packages that only the tests need: installed where there is an apt-get to do it.
system:
	@missing=$$(grep -v '^#' $(SYSTEM) | while read -r p; do \
	  dpkg-query -W -f '$${Status}' "$$p" 2>/dev/null | grep -q 'ok installed' || echo "$$p"; done); \
	[ -n "$$missing" ] || exit 0; \
	root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	echo "==> apt-get install" $$missing; \
	{ $$root apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	  $$root apt-get -qq install --no-install-recommends -y $$missing >/dev/null; } \
	  || echo "could not install" $$missing": the tests that need them will fail" >&2

# Stock tools for a test each, in folders beside the environment, whose packages they share.
$(TOOLS): $(VENV)/%/.installed: requirements/%.lock $(INSTALLED)
	@echo "==> $*"; rm -rf $(@D); $(PIP) install --quiet --no-deps --target $(@D) -r $<; touch $@

# $(1): pytest's arguments.
define checks
@echo "==> ruff format --check"; $(RUN) -m ruff format --check .
@echo "==> ruff check"; $(RUN) -m ruff check .
@echo "==> mypy --strict"; $(RUN) -m mypy
@echo "==> pytest $(1)"; $(RUN) -m pytest $(1)
endef

check: $(INSTALLED)
	$(call checks,-m unit)

test: $(INSTALLED) $(TOOLS) system
	$(call checks,)

demo-model: $(INSTALLED)
	@exec $(RUN) -m demo.train

demo-eval: $(INSTALLED)
	@exec $(RUN) -m demo.eval

wheel: $(INSTALLED)
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

image:
	docker build --target $(TARGET) --tag $(IMAGE) .

lock:
	rm -rf .venv-lock && python3 -m venv .venv-lock
	.venv-lock/bin/pip install "$$(grep -o '^torch==.*' $(LOCK))"
	.venv-lock/bin/pip install ".[cpu,dev,distill,eval,loadtests]" "setuptools>=77"
	{ sed -n '/^#/p' $(LOCK); .venv-lock/bin/pip freeze --all \
	  | grep -viE '^(torchaudio|torchcodec|pip|wheel|sdrpn)( |=)'; } > $(LOCK).new
	mv $(LOCK).new $(LOCK) && rm -rf .venv-lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
