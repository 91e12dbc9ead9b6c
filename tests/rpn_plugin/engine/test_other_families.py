"""The hazards of the tap, for families other than the shipped model's, on tiny random models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rpn_plugin.families import DEEPSEEK_VL, DEEPSEEK_VL_HYBRID, LLAVA, QWEN3_VL, Family
from rpn_plugin.messages import RoiRequest, decode_result
from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import BLOCK, Ask, Engine, OneAtATime
from tests.rpn_plugin.engine.reference import Reference
from tests.rpn_plugin.engine.tiny_models import (
    DEEPSEEK_IMAGE,
    save_deepseek_vl,
    save_deepseek_vl_hybrid,
    save_llava,
    save_qwen3_vl,
    save_random_rpn,
)


@dataclass(frozen=True)
class Kind:
    """A family, a model of it, and its engine's settings where they depend on its pictures."""

    family: Family
    save: Callable[[Path], None]
    placeholder: str
    arguments: dict[str, Any]

    def picture(self, rows: int, cols: int, seed: int) -> Image.Image:
        """Of that many tokens, or of as many as all of the family's pictures have."""
        rows, cols = self.grid(rows, cols)
        return noise(rows, cols, seed, self.family.image.cell)

    def grid(self, rows: int, cols: int) -> tuple[int, int]:
        """What a picture of that many tokens becomes."""
        square = self.family.image.square
        return (rows, cols) if square is None else (square, square)

    def chat(self, *pictures: Image.Image, question: str = "Where is it?") -> Chat:
        """One user turn."""
        return Chat(pictures, question, self.placeholder)


SQUARES = {"max_model_len": 1536, "num_gpu_blocks_override": 72, "mm_processor_kwargs": None}
KINDS = {
    "qwen3_vl": Kind(
        QWEN3_VL,
        save_qwen3_vl,
        "<|vision_start|><|image_pad|><|vision_end|>",
        {"max_model_len": 640, "num_gpu_blocks_override": 48, "mm_processor_kwargs": None},
    ),
    "llava": Kind(LLAVA, save_llava, "<image>", SQUARES),
    "deepseek_vl": Kind(DEEPSEEK_VL, save_deepseek_vl, DEEPSEEK_IMAGE, SQUARES),
    "deepseek_vl_hybrid": Kind(
        DEEPSEEK_VL_HYBRID, save_deepseek_vl_hybrid, DEEPSEEK_IMAGE, SQUARES
    ),
}


@dataclass(frozen=True)
class Served:
    """A running engine and the truth about its maps."""

    kind: Kind
    engine: Engine
    reference: Reference

    def check(self, *asks: Ask) -> None:
        """Requests that arrive all at once each get their own map."""
        for ask, output in zip(asks, self.engine.ask(*asks), strict=True):
            if ask.params is not None:
                assert_right(self.reference, ask.chat, output)


@pytest.fixture(scope="module", params=KINDS)
def served(
    request: pytest.FixtureRequest,
    engines: OneAtATime,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    engines.stop()
    kind = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    kind.save(folder)
    save_random_rpn(folder, kind.family, folder / "rpn")
    engine = Engine(
        folder,
        folder / "rpn",
        dtype="float32",
        enforce_eager=True,
        max_num_batched_tokens=64,
        **kind.arguments,
    )
    yield Served(kind, engine, Reference(folder, folder / "rpn"))
    engine.stop()


def test_answers_are_the_models_own(served: Served) -> None:
    chat = served.kind.chat(served.kind.picture(7, 8, seed=50))
    (output,) = served.engine.ask(Ask(chat, params=None, max_tokens=6))
    prompt, answer = list(output.prompt_token_ids), list(output.outputs[0].token_ids)
    likeliest = served.reference.likeliest(chat, [*prompt, *answer], among=256)
    assert answer == likeliest[len(prompt) - 1 : -1]


def test_chunks_and_a_prefix_hit(served: Served) -> None:
    picture = served.kind.picture(15, 12, seed=1)
    served.check(Ask(served.kind.chat(picture)))
    again = served.kind.chat(picture, question="What is the code on the blue tag?")
    (output,) = served.engine.ask(Ask(again))
    assert output.num_cached_tokens >= 3 * BLOCK
    assert_right(served.reference, again, output)


def test_many_at_once_flagged_or_not(served: Served) -> None:
    sizes = [(3 + n, 9 - n) for n in range(6)]
    chats = [
        served.kind.chat(served.kind.picture(*size, seed=10 + n)) for n, size in enumerate(sizes)
    ]
    served.check(*(Ask(chat, None, 8) if n % 3 == 0 else Ask(chat) for n, chat in enumerate(chats)))


@pytest.mark.parametrize("image", [0, 1])
def test_each_of_two_pictures(served: Served, image: int) -> None:
    pictures = [served.kind.picture(4, 9, seed=20), served.kind.picture(8, 5, seed=21)]
    chat = served.kind.chat(*pictures)
    (output,) = served.engine.ask(Ask(chat, RoiRequest(image).to_params()))
    rows_and_cols = decode_result(output.kv_transfer_params).logits.shape
    assert rows_and_cols == served.kind.grid(*[(4, 9), (8, 5)][image])
    assert_right(served.reference, chat, output, image)


def test_states_written_while_decoding(served: Served) -> None:
    chat = served.kind.chat(served.kind.picture(6, 6, seed=30))
    (turn,) = served.engine.ask(Ask(chat, params=None, max_tokens=3 * BLOCK))
    ids = served.reference.second_turn(turn)
    (output,) = served.engine.ask(Ask(chat, prompt_token_ids=ids))
    assert output.num_cached_tokens > len(turn.prompt_token_ids) + BLOCK
    assert_right(served.reference, chat, output)


def test_preempted_requests(served: Served) -> None:
    before = served.engine.counter("vllm:num_preemptions")
    chats = [served.kind.chat(served.kind.picture(8, 9, seed=40 + n)) for n in range(8)]
    served.check(*(Ask(chat, max_tokens=200) for chat in chats))
    assert served.engine.counter("vllm:num_preemptions") > before
