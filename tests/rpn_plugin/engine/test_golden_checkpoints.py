"""Released checkpoints in the engine as they are: maps, masks and boxes are the recorded ones."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rpn_plugin.families import LLAVA as LLAVA_FAMILY
from rpn_plugin.messages import RoiRequest, decode_result
from rpn_plugin.network.checkpoint import load_gate
from server.pictures.files import Picture
from server.pictures.views import base_view
from tests.golden import LLAVA, LLAVA_CASES, QWEN, QWEN_CASES, TOLERANCE, Case, add_gate
from tests.rpn_plugin.engine.chats import Chat
from tests.rpn_plugin.engine.engines import Ask, Engine, OneAtATime
from tests.rpn_plugin.engine.tiny_tokenizers import LLAMA_SPECIAL, QWEN_SPECIAL, save_tokenizer

WHOLE_PROMPTS: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 2048,
    "max_num_batched_tokens": 2048,
}


@pytest.fixture(scope="module")
def gated_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    shutil.copytree(QWEN / "checkpoint", folder, dirs_exist_ok=True)
    add_gate(folder)
    save_tokenizer(folder, QWEN_SPECIAL)
    return folder


@pytest.fixture(scope="module")
def qwen(engines: OneAtATime, gated_qwen: Path) -> Iterator[Engine]:
    pixels = {"max_pixels": 2000 * 28 * 28}
    yield from _engine(engines, gated_qwen, mm_processor_kwargs=pixels)


@pytest.fixture(scope="module")
def llava(engines: OneAtATime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    parent = tmp_path_factory.mktemp("llava")
    shutil.copytree(LLAVA / "checkpoint", parent / "checkpoint")
    shutil.copytree(LLAVA / "vision_tower", parent / "vision_tower")
    save_tokenizer(parent / "checkpoint", LLAMA_SPECIAL)
    yield from _engine(engines, parent / "checkpoint", mm_processor_kwargs=None)


def _engine(engines: OneAtATime, checkpoint: Path, **arguments: Any) -> Iterator[Engine]:
    engines.stop()
    engine = Engine(checkpoint, checkpoint, **WHOLE_PROMPTS, **arguments)
    yield engine
    engine.stop()


@pytest.mark.parametrize("case", QWEN_CASES, ids=lambda case: case.folder.name)
def test_qwen2_5_vl(qwen: Engine, gated_qwen: Path, case: Case) -> None:
    ids = case.tensors["input_ids"].tolist()
    one_placeholder = [
        token for before, token in itertools.pairwise([-1, *ids]) if not token == before == 503
    ]
    chat = Chat((case.image,))
    params = RoiRequest(gate=True).to_params()
    (output,) = qwen.ask(Ask(chat, params, prompt_token_ids=one_placeholder))
    assert output.prompt_token_ids == ids
    found = decode_result(output.kv_transfer_params)
    case.check_map(found.logits)
    truth = _gate_on_recorded_states(gated_qwen, case)
    assert found.gate_logit == pytest.approx(truth, rel=0, abs=TOLERANCE)


@torch.inference_mode()
def _gate_on_recorded_states(checkpoint: Path, case: Case) -> float:
    gate = load_gate(checkpoint)
    assert gate is not None
    states, positions = case.tensors["hidden_after_K"], case.tensors["position_ids"]
    return float(gate(states[None], positions[:, None], torch.tensor([len(states) - 1])))


@pytest.mark.parametrize("case", LLAVA_CASES, ids=lambda case: case.folder.name)
def test_llava(llava: Engine, case: Case) -> None:
    """From the original picture: padding and scaling are ours."""
    ids = [512 if token == -200 else token for token in case.tensors["input_ids"].tolist()]
    view = base_view(Picture(case.image, "digest"), 576, LLAVA_FAMILY.image)
    (output,) = llava.ask(Ask(Chat((view.image,)), prompt_token_ids=ids))
    case.check_map(decode_result(output.kv_transfer_params).logits)
