"""The truth: Hugging Face's model, the same RPN and gate, dense, in float32, a prompt at a time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageTextToText
from vllm.outputs import RequestOutput

from rpn_plugin.network.checkpoint import load_gate, load_rpn
from tests.rpn_plugin.engine.chats import Chat


class Reference:
    """Maps of a model folder and an RPN folder without vLLM."""

    def __init__(self, model: Path, rpn: Path) -> None:
        self._rpn = load_rpn(rpn).float().eval()
        gate = load_gate(rpn)
        self._gate = gate.float().eval() if gate else None
        whole = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32).eval()
        self._model, self._head = whole.model, whole.lm_head
        self._processor = AutoImageProcessor.from_pretrained(model)
        self._image_token = self._model.config.image_token_id

    def second_turn(self, turn: RequestOutput) -> list[int]:
        """The prompt and answer of `turn` as a new prompt, each picture one placeholder again."""
        prompt = [
            token
            for before, token in itertools.pairwise([-1, *turn.prompt_token_ids])
            if not token == before == self._image_token
        ]
        return [*prompt, *turn.outputs[0].token_ids]

    @torch.inference_mode()
    def map(self, chat: Chat, prompt_token_ids: list[int], image: int = -1) -> NDArray[np.float32]:
        """Logits float32 [rows, cols] of picture number `image` of the chat."""
        states, positions, is_image, grids = self._read(chat, prompt_token_ids)
        logits = self._rpn(states, positions, torch.tensor([states.shape[1] - 1]))
        per_picture = logits[is_image].split([rows * cols for rows, cols in grids])
        chosen: NDArray[np.float32] = per_picture[image].reshape(grids[image]).numpy()
        return chosen

    @torch.inference_mode()
    def gate_logit(self, chat: Chat, prompt_token_ids: list[int]) -> float:
        """What the learned gate says."""
        states, positions, _, _ = self._read(chat, prompt_token_ids)
        assert self._gate is not None
        return float(self._gate(states, positions, torch.tensor([states.shape[1] - 1])))

    @torch.inference_mode()
    def likeliest(self, chat: Chat, token_ids: list[int], among: int) -> list[int]:
        """The token that likeliest follows each of `token_ids`, among the first of them all."""
        inputs, *_ = self._inputs(chat, token_ids)
        logits = self._head(self._model(**inputs).last_hidden_state[0])
        likeliest: list[int] = logits[:, :among].argmax(-1).tolist()
        return likeliest

    def _read(
        self, chat: Chat, prompt_token_ids: list[int]
    ) -> tuple[Tensor, Tensor, Tensor, list[list[int]]]:
        """States after the tap layer, rope positions, which are of pictures, and their grids."""
        inputs, positions, is_image, grids = self._inputs(chat, prompt_token_ids)
        return self._tapped(**inputs), positions, is_image, grids

    def _inputs(
        self, chat: Chat, prompt_token_ids: list[int]
    ) -> tuple[dict[str, Any], Tensor, Tensor, list[list[int]]]:
        """What the model is called with, and all but the first of what `_read` returns."""
        pixels = self._processor(images=list(chat.pictures), return_tensors="pt")
        ids = torch.tensor([prompt_token_ids])
        is_image = ids == self._image_token
        inputs: dict[str, Any] = {"input_ids": ids, "pixel_values": pixels["pixel_values"]}
        if "image_grid_thw" in pixels:
            places = {
                "image_grid_thw": pixels["image_grid_thw"],
                "mm_token_type_ids": is_image.int(),
            }
            positions, _ = self._model.get_rope_index(ids, **places)
            inputs |= places
            grids = (pixels["image_grid_thw"][:, 1:] // 2).tolist()
        else:
            positions = torch.arange(ids.shape[1]).expand(3, 1, -1)
            grids = [[24, 24]] * len(chat.pictures)
        if "high_res_pixel_values" in pixels:
            inputs["high_res_pixel_values"] = pixels["high_res_pixel_values"]
        return inputs, positions, is_image, grids

    def _tapped(self, **inputs: Any) -> Tensor:
        """What enters the layer after the tap: all that was added to the states before it."""
        caught: list[Tensor] = []

        def catch(_: Any, positional: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            caught.append(positional[0] if positional else named["hidden_states"])

        layer = self._model.language_model.layers[self._rpn.config.tap_layer]
        hook = layer.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            self._model(**inputs)
        finally:
            hook.remove()
        return caught[0]
