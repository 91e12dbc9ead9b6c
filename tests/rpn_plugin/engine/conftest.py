"""Engines for the hazard tests: three are started in all, one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rpn_plugin.network.checkpoint import save_rpn
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.rpn import RegionProposalNetwork
from tests.rpn_plugin.engine.engines import KINDS, Engine, OneAtATime
from tests.rpn_plugin.engine.reference import Reference

MODEL = Path(__file__).parents[3] / "demo" / "model"
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_PLUGINS": "sdrpn",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one engine stand together, so that it is started once."""
    order = list(KINDS)

    def engine_of(item: pytest.Item) -> int:
        fixtures = getattr(item, "fixturenames", ())
        return next((1 + order.index(kind) for kind in order if kind in fixtures), 0)

    here = [item for item in items if Path(__file__).parent in item.path.parents]
    places = [index for index, item in enumerate(items) if item in here]
    for place, item in zip(places, sorted(here, key=engine_of), strict=True):
        items[place] = item


@pytest.fixture(scope="package")
def model_folder() -> Path:
    """The shipped model."""
    return MODEL


@pytest.fixture(scope="package")
def rpn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random RPN of depth 3 for the shipped model, with scores of size 1 and more, and a random
    learned gate.
    """
    hf_config = json.loads((MODEL / "config.json").read_text())
    torch.manual_seed(0)
    config = RpnConfig.for_model(hf_config, tap_layer=2, depth=3, gate_layers=2)
    rpn = RegionProposalNetwork(config)
    for name, parameter in rpn.named_parameters():
        if name.startswith("layers.2.self_attn"):
            parameter.data *= 3
    folder = tmp_path_factory.mktemp("rpn")
    save_rpn(rpn, folder, LearnedGate(config))
    return folder


@pytest.fixture(scope="package")
def reference(model_folder: Path, rpn_folder: Path) -> Reference:
    """The dense float32 maps."""
    return Reference(model_folder, rpn_folder)


@pytest.fixture(scope="package")
def engines(model_folder: Path, rpn_folder: Path) -> Iterator[OneAtATime]:
    """The one running engine, of whichever kind."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        engines = OneAtATime(model_folder, rpn_folder)
        try:
            yield engines
        finally:
            engines.stop()


@pytest.fixture
def eager(engines: OneAtATime) -> Engine:
    """float32, no compilation, chunks of 64 tokens, a small cache."""
    return engines.get("eager")


@pytest.fixture
def bfloat16(engines: OneAtATime) -> Engine:
    """bfloat16, no compilation."""
    return engines.get("bfloat16")


@pytest.fixture
def compiled(engines: OneAtATime) -> Engine:
    """float32 under torch.compile."""
    return engines.get("compiled")
