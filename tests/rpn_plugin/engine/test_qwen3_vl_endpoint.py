"""Qwen3-VL from end to end: an RPN is distilled for a tiny model, and served with it over HTTP."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from demo.pages import write_pages
from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.network.checkpoint import load_rpn
from rpn_plugin.regions.boxes import blurred_map, regions_from_map
from server.cli.main import main
from server.shipped_model import SHIPPED_MODEL
from tests.conftest import Endpoint, serving
from tests.rpn_plugin.engine.engines import OneAtATime
from tests.rpn_plugin.engine.tiny_models import save_qwen3_vl

pytestmark = pytest.mark.endpoint

QUESTION = "What is the code on the red tag?"
DISTILLED_WITH = (
    *("--tap-layer", "2", "--depth", "2", "--base-tokens", "64", "--crop-tokens", "64"),
    *("--response", "none", "--heads", "1:0;2:1", "--foreground", "0.9", "--validation", "2"),
    *("--batch", "4", "--micro-batch", "4", "--lr", "1e-3", "--precision", "float32"),
    *("--device", "cpu"),
)
SERVED_WITH = (
    *("--dtype", "float32", "--enforce-eager", "--block-size", "32"),
    *("--max-model-len", "640", "--served-model-name", "tiny"),
)
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}


@dataclass(frozen=True)
class Trained:
    """A tiny model, its RPN, and a page."""

    model: Path
    rpn: Path
    page: Path

    def map(self) -> NDArray[np.float32]:
        """The page's RoI logits [rows, cols], by transformers' model and the plain RPN."""
        base = BaseModel.load(self.model, 64, device=torch.device("cpu"), dtype=torch.float32)
        rpn = load_rpn(self.rpn).float().eval()
        chats = base.prompts([base.view(Image.open(self.page).convert("RGB"))], [QUESTION])
        base.keep_layers(rpn.config.tap_layer)
        tapped = base.tapped(chats)
        with torch.inference_mode():
            logits = rpn(tapped.hidden, tapped.positions, tapped.query_index)
        cells: NDArray[np.float32] = logits[0, chats.cells()[0]].reshape(chats.grids[0]).numpy()
        return cells


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("qwen3_vl")
    save_qwen3_vl(folder / "model")
    shutil.copy(SHIPPED_MODEL / "chat_template.jinja", folder / "model")  # Qwen's
    data = write_pages(seed=78, count=16, folder=folder / "pages")
    arguments = (str(folder / "model"), "--data", str(data), "--out", str(folder / "rpn"))
    assert main(["distill", *arguments, *DISTILLED_WITH]) == 0
    return Trained(folder / "model", folder / "rpn", folder / "pages" / "page_00000.png")


@pytest.fixture(scope="module")
def served(
    trained: Trained, engines: OneAtATime, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    engines.stop()
    log = tmp_path_factory.mktemp("served") / "server.log"
    with serving(
        log, str(trained.model), "--rpn", str(trained.rpn), *SERVED_WITH, **ENVIRONMENT
    ) as running:
        yield running


def ask(served: Endpoint, page: Path, **roi: Any) -> Any:
    """A chat about the page with the official client."""
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
    url = f"data:image/png;base64,{base64.b64encode(page.read_bytes()).decode()}"
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": QUESTION},
    ]
    return client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": parts}],  # type: ignore[list-item,misc]
        max_tokens=4,
        temperature=0,
        extra_body={"roi": roi},
    )


def test_a_chat_gets_the_crop_its_map_asks_for(served: Endpoint, trained: Trained) -> None:
    logits = trained.map()
    heat = np.sort(blurred_map(logits, "qwen3_vl").ravel())
    between = float(heat[-4:-2].mean())  # three cells are above it
    answer = ask(served, trained.page, threshold=between, heatmap=True)
    np.testing.assert_allclose(answer.roi["heatmap"], 1 / (1 + np.exp(-logits)), atol=1e-4)
    size = Image.open(trained.page).size
    (expected,) = regions_from_map(logits, size, between, family="qwen3_vl")
    assert answer.roi["regions"][0]["box"] == list(expected.box)
    first = answer.roi["pass1_usage"]["prompt_tokens"]
    assert answer.usage.prompt_tokens > first + 32  # a crop's tokens have come to it
    assert answer.usage.prompt_tokens_details.cached_tokens >= 64  # the base view's have stayed
    assert answer.choices[0].message.content


def test_without_a_region_the_answer_is_the_base_views(served: Endpoint, trained: Trained) -> None:
    answer = ask(served, trained.page, threshold=1.0)
    assert answer.roi["regions"] == []
    plain = ask(served, trained.page, enabled=False)
    assert answer.choices[0].message.content == plain.choices[0].message.content
