"""Any family: attention and states are those of transformers' own code; a run makes an RPN.

The shipped model (Qwen2.5-VL), and tiny random models of the other families.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from rpn_plugin.compat import check_rpn_fits
from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.prompts import Prompts
from rpn_plugin.distill.data.samples import DataError
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.run import Run
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.families import llava
from rpn_plugin.network.checkpoint import load_rpn
from server.shipped_model import SHIPPED_MODEL
from tests.golden import LLAVA as RELEASED_LLAVA
from tests.rpn_plugin.engine.tiny_models import save_deepseek_vl_hybrid, save_llava, save_qwen3_vl

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def save_shipped(folder: Path) -> None:
    folder.rmdir()
    folder.symlink_to(SHIPPED_MODEL)


def save_tiny_qwen3_vl(folder: Path) -> None:
    save_qwen3_vl(folder)
    shutil.copy(SHIPPED_MODEL / "chat_template.jinja", folder)  # Qwen's


def save_tiny_llava(folder: Path) -> None:
    save_llava(folder)
    shutil.copy(Path(llava.__file__).with_name("llava_v1.jinja"), folder / "chat_template.jinja")


DEEPSEEK_CHAT = (
    "{% for m in messages %}{% for part in m.content %}{% if part.type == 'image' %}"
    "<image_placeholder>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}"
)


def save_tiny_deepseek_vl_hybrid(folder: Path) -> None:
    save_deepseek_vl_hybrid(folder)
    (folder / "chat_template.jinja").write_text(DEEPSEEK_CHAT)


SAVE: dict[str, Callable[[Path], None]] = {
    "qwen2_5_vl": save_shipped, "qwen3_vl": save_tiny_qwen3_vl, "llava": save_tiny_llava,
    "deepseek_vl_hybrid": save_tiny_deepseek_vl_hybrid,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A model folder and its family's name."""

    family: str
    folder: Path

    def load(self) -> BaseModel:
        return BaseModel.load(self.folder, 64, device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module", params=SAVE)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kind:
    folder = tmp_path_factory.mktemp(request.param)
    SAVE[request.param](folder)
    return Kind(request.param, folder)


def pictures() -> list[Image.Image]:
    """The same two every time."""
    random = np.random.default_rng(0)
    shapes = ((300, 400, 3), (520, 260, 3))
    return [Image.fromarray(random.integers(0, 256, s, dtype=np.uint8)) for s in shapes]


def prompts(base: BaseModel) -> Prompts:
    """Two chats of different lengths."""
    views = [base.view(picture) for picture in pictures()]
    return base.prompts(views, ["What is the code on the red tag?", "Where is it?"])


def test_attention_is_that_of_the_full_maps(kind: Kind) -> None:
    base = kind.load()
    chats, answers = prompts(base), [[5, 6, 7], [8, 9]]
    eager = AutoModelForImageTextToText.from_pretrained(
        kind.folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    layers = {1: (0, 2), 3: (1,)}
    for queries in ("decode", "prefill", "both"):
        maps = base.attention(chats, answers, queries, layers)
        fed = [answer[:-1] if queries != "prefill" else [] for answer in answers]
        with torch.inference_mode():
            full = eager(**chats.padded(answers=fed), output_attentions=True).attentions
        for place, (length, answer) in enumerate(zip(chats.lengths, fed, strict=True)):
            rows = list(range(length - (queries != "decode"), length + len(answer)))
            cells = chats.cells()[place]
            cells = cells[cells >= 0]
            for layer, heads in layers.items():
                expected = full[layer][place, list(heads)][:, rows][..., cells].mean(1)
                found = maps[layer][place, :, : len(cells)]
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_states_and_grids(kind: Kind) -> None:
    base = kind.load()
    chats = prompts(base)
    for (rows, cols), cells in zip(chats.grids, chats.cells(), strict=True):
        assert rows * cols == int((cells >= 0).sum())
    entering: list[torch.Tensor] = []  # what the layer after the tap gets, as the engine taps it

    def catch(
        _: object, positional: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor]
    ) -> None:
        entering.append(positional[0] if positional else named["hidden_states"])

    hook = base.layers[2].register_forward_pre_hook(catch, with_kwargs=True)
    with torch.inference_mode():
        base.model(**chats.padded())
    hook.remove()
    base.keep_layers(2)
    tapped = base.tapped(chats)
    assert tapped.query_index.tolist() == [length - 1 for length in chats.lengths]
    assert tapped.positions.shape == (3, *tapped.hidden.shape[:2])
    for place, length in enumerate(chats.lengths):
        found, expected = tapped.hidden[place, :length], entering[0][place, :length]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_an_answer_is_the_models_own(kind: Kind) -> None:
    base = kind.load()
    chats = prompts(base)
    together = base.answers(chats, 5)
    for place, picture in enumerate(pictures()):
        question = ["What is the code on the red tag?", "Where is it?"][place]
        alone = base.prompts([base.view(picture)], [question])
        assert base.answers(alone, 5) == [together[place]]


def test_a_run_makes_an_rpn_that_fits(kind: Kind, tmp_path: Path) -> None:
    for number, picture in enumerate(pictures() * 8):
        picture.save(tmp_path / f"{number}.png")
    rows = [{"image": f"{n}.png", "question": f"Where is {n}?"} for n in range(16)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = DistillSettings(
        tap_layer=2, depth=2, base_tokens=64, calibration=8, max_new_tokens=3, foreground=0.9,
        label_options="relative_peak", heads="1:0;2:1", response="none", batch=8, micro_batch=4,
        label_batch=4, precision="float32", validation=1, device="cpu",
    )  # fmt: skip
    # Attention of random weights has no peaks; every map counts here, if only for a cell or two.
    settings = (
        settings.model_copy(update={"label_options": ""}) if kind.family == "llava" else settings
    )
    run = Run(str(kind.folder), data, tmp_path / "out", settings, Processes(0, 1, CPU))
    run.labels()
    run.train()
    rpn = load_rpn(tmp_path / "out")
    assert rpn.config.family == kind.family
    check_rpn_fits(rpn.config, json.loads((kind.folder / "config.json").read_text()))


def test_llavas_own_layout_is_refused() -> None:
    with pytest.raises(DataError, match="train with the same model in Hugging Face's"):
        BaseModel.load(RELEASED_LLAVA / "checkpoint", 64, device=CPU, dtype=torch.float32)
