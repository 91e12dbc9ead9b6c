"""Where our second pass differs from the released one, measured: `python -m demo.fidelity`.

The released code puts a crop's tokens into the prompt in another way than a second picture of the
chat (docs/fidelity.md). Here both ways, and each difference alone, answer the same questions about
pages that training never saw, with the shipped model and RPN, dense and in float32. Prints the
share of right answers of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from demo.eval import EVAL_SEED
from demo.pages import render_page
from demo.questions import code_question
from rpn_plugin.checkpoint import load_rpn
from rpn_plugin.roi import Region, blurred_map, regions_from_map
from server.pictures import Picture
from server.viewing import View, base_view, crop_view

MODEL = Path(__file__).parent / "model"
LONGEST_ANSWER = 6


@dataclass(frozen=True)
class Way:
    """A way to show the crop. `second_picture`: between its own vision marks, after the base view's
    end mark; the released code puts it, with its marks, before that end mark. `masked`: without the
    tokens that lie outside the map's mask.
    """

    name: str
    second_picture: bool
    masked: bool


WAYS = (
    Way("as we serve it: the crop is a second picture", second_picture=True, masked=False),
    Way("its tokens outside the mask dropped", second_picture=True, masked=True),
    Way("released order of the vision marks", second_picture=False, masked=False),
    Way("both, as released", second_picture=False, masked=True),
)


class Dense:
    """The shipped model and RPN in Hugging Face's implementation."""

    def __init__(self, folder: Path) -> None:
        self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        self._rpn = load_rpn(folder / "rpn").float().eval()
        self._processor = AutoImageProcessor.from_pretrained(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        config = self._model.config
        self._image = config.image_token_id
        self._start, self._end = self._tokenizer.convert_tokens_to_ids(
            ["<|vision_start|>", "<|vision_end|>"]
        )

    @property
    def config(self) -> Any:
        """The RPN's configuration."""
        return self._rpn.config

    def map(self, base: View, question: str) -> NDArray[np.float32]:
        """The RoI map, logits [rows, cols]."""
        ids = self._prompt(question, [self._start, *self._tokens(base), self._end])
        embedded, positions = self._embed(ids, [base])
        states = self._run(embedded, positions, layers=self._rpn.config.tap_layer)
        logits = self._rpn(states, positions, torch.tensor([len(ids) - 1]))[0]
        found: NDArray[np.float32] = logits[torch.tensor(ids) == self._image].numpy()
        return found.reshape(base.grid)

    def answer(
        self, question: str, base: View, crop: View, keep: NDArray[np.bool_], way: Way
    ) -> str:
        """The model's answer; `keep` [crop tokens] is the mask."""
        between = [self._end, self._start] if way.second_picture else [self._start]
        after = [self._end] if way.second_picture else [self._end, self._end]
        shown = [self._start, *self._tokens(base), *between, *self._tokens(crop), *after]
        ids = self._prompt(question, shown)
        embedded, positions = self._embed(ids, [base, crop])
        if way.masked:
            kept = torch.ones(len(ids), dtype=torch.bool)
            kept[(torch.tensor(ids) == self._image).nonzero()[-keep.size :, 0]] = torch.tensor(keep)
            embedded, positions = embedded[:, kept], positions[..., kept]
        return self._decode(embedded, positions)

    def _tokens(self, view: View) -> list[int]:
        return [self._image] * (view.grid[0] * view.grid[1])

    def _prompt(self, question: str, shown: Sequence[int]) -> list[int]:
        """The chat's token ids, with `shown` where its picture is."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        before, after = text.split("<|vision_start|><|image_pad|><|vision_end|>")
        encode = self._tokenizer.encode
        return [*encode(before), *shown, *encode(after)]

    def _embed(self, ids: list[int], views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Input embeddings [1, tokens, hidden] and rope positions [3, 1, tokens]."""
        pixels = self._processor(images=[view.image for view in views], return_tensors="pt")
        tokens = torch.tensor([ids])
        pictures = {"image_grid_thw": pixels["image_grid_thw"]}
        types = (tokens == self._image).int()
        positions, _ = self._model.model.get_rope_index(tokens, mm_token_type_ids=types, **pictures)
        caught: list[Tensor] = []
        hook = self._model.model.language_model.register_forward_pre_hook(
            lambda _module, _args, named: caught.append(named["inputs_embeds"]), with_kwargs=True
        )
        try:
            self._model.model(
                tokens, pixel_values=pixels["pixel_values"], mm_token_type_ids=types, **pictures
            )
        finally:
            hook.remove()
        return caught[0], positions

    def _run(self, embedded: Tensor, positions: Tensor, layers: int | None = None) -> Tensor:
        """Hidden states after so many layers, or normed after all."""
        out = self._model.model.language_model(
            inputs_embeds=embedded,
            position_ids=positions,
            use_cache=False,
            output_hidden_states=layers is not None,
        )
        states: Tensor = out.last_hidden_state if layers is None else out.hidden_states[layers]
        return states

    def _decode(self, embedded: Tensor, positions: Tensor) -> str:
        answer: list[int] = []
        while len(answer) < LONGEST_ANSWER:
            logits = self._model.lm_head(self._run(embedded, positions)[:, -1])
            token = logits.argmax(-1)
            if int(token) == self._tokenizer.eos_token_id:
                break
            answer.append(int(token))
            new = self._model.model.language_model.embed_tokens(token)[:, None]
            embedded = torch.cat([embedded, new], 1)
            positions = torch.cat([positions, positions[..., -1:] + 1], -1)
        return str(self._tokenizer.decode(answer)).strip()


def inside_mask(
    logits: NDArray[np.float32], region: Region, threshold: float, crop: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which of the crop's tokens the released code keeps: the mask inside the box, resized to the
    crop's grid, above one half.
    """
    x0, y0, x1, y1 = region.cells
    mask = torch.tensor(blurred_map(logits)[y0:y1, x0:x1] > threshold).float()[None, None]
    resized = F.interpolate(mask, size=crop, mode="bilinear", align_corners=False)
    kept: NDArray[np.bool_] = (resized > 0.5).flatten().numpy()
    return kept


@torch.inference_mode()
def measure(model: Dense, seed: int, count: int) -> tuple[dict[str, int], int, float]:
    """Right answers of each way, over how many pages with a region, and the mean share of a crop's
    tokens that the mask keeps.
    """
    config = model.config
    right = {way.name: 0 for way in WAYS}
    shares = []
    for index in range(count):
        page = render_page(seed, index)
        asked = page.things[page.asked]
        question = code_question(page.kind, asked.name)
        picture = Picture(page.image, "")
        base = base_view(picture, config.base_tokens)
        logits = model.map(base, question)
        regions = regions_from_map(logits, page.image.size, threshold=config.threshold)
        if not regions:
            continue
        crop = crop_view(picture, regions[0].box, config.crop_tokens)
        keep = inside_mask(logits, regions[0], config.threshold, crop.grid)
        shares.append(float(keep.mean()))
        for way in WAYS:
            right[way.name] += model.answer(question, base, crop, keep, way) == asked.code
    return right, len(shares), float(np.mean(shares))


def main() -> None:
    """Compares our second pass with the released one on the shipped model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", type=int, default=EVAL_SEED)
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    right, pages, share = measure(Dense(MODEL), arguments.seed, arguments.count)
    print(f"{pages} of {arguments.count} pages have a region; the mask keeps {share:.0%} of a crop")
    for way, count in right.items():
        print(f"{count / pages:6.3f}  {way}")


if __name__ == "__main__":
    main()
