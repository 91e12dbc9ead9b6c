"""The truth: Hugging Face's model and the same RPN, dense, in float32, one prompt at a time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoImageProcessor, Qwen2_5_VLForConditionalGeneration
from vllm.outputs import RequestOutput

from rpn_plugin.checkpoint import load_rpn
from tests.engine.chats import Chat


class Reference:
    """Maps of a model folder and an RPN folder without vLLM."""

    def __init__(self, model: Path, rpn: Path) -> None:
        self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            model, dtype=torch.float32
        ).model.eval()
        self._processor = AutoImageProcessor.from_pretrained(model)
        self._rpn = load_rpn(rpn).float().eval()

    def second_turn(self, turn: RequestOutput) -> list[int]:
        """The prompt and answer of `turn` as a new prompt, each picture one placeholder again."""
        image_token = self._model.config.image_token_id
        prompt = [
            token
            for before, token in itertools.pairwise([-1, *turn.prompt_token_ids])
            if not token == before == image_token
        ]
        return [*prompt, *turn.outputs[0].token_ids]

    @torch.inference_mode()
    def map(self, chat: Chat, prompt_token_ids: list[int], image: int = -1) -> NDArray[np.float32]:
        """Logits float32 [rows, cols] of picture number `image` of the chat."""
        pixels = self._processor(images=list(chat.pictures), return_tensors="pt")
        ids = torch.tensor([prompt_token_ids])
        is_image = ids == self._model.config.image_token_id
        inputs = {
            "input_ids": ids,
            "image_grid_thw": pixels["image_grid_thw"],
            "mm_token_type_ids": is_image.int(),
        }
        positions, _ = self._model.get_rope_index(**inputs)
        states = self._model(
            **inputs, pixel_values=pixels["pixel_values"], output_hidden_states=True
        ).hidden_states[self._rpn.config.tap_layer]
        logits = self._rpn(states, positions, torch.tensor([ids.shape[1] - 1]))

        grids = (pixels["image_grid_thw"][:, 1:] // 2).tolist()
        per_picture = logits[is_image].split([rows * cols for rows, cols in grids])
        chosen: NDArray[np.float32] = per_picture[image].reshape(grids[image]).numpy()
        return chosen
