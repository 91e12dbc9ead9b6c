"""The model an RPN is made for, run with transformers: its answers, its attention, its states.

Everything family-specific comes from the model's own processor and code. Three things are asked of
it: a chat template, decoder layers with a `self_attn` that follows transformers' attention
interface, and one image token per cell of the picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rpn_plugin.distill.data.prompts import Prompts
from rpn_plugin.distill.data.samples import DataError
from rpn_plugin.distill.labels.attention import (
    NAME,
    AttentionRequest,
    recorded_attention,
    register,
)
from rpn_plugin.families import Family, family_of_architecture
from rpn_plugin.images.base_view import base_view
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.rpn import RegionProposalNetwork


@dataclass(frozen=True)
class TapStates:
    """What an RPN reads of a batch: states that leave layer B, [batch, seq, hidden], positions
    int64 [3, batch, seq], and the place of the last prompt token, int64 [batch]."""

    hidden: Tensor
    positions: Tensor
    query_index: Tensor


class BaseModel:
    """A frozen vision-language model."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        family: Family,
        base_tokens: int,
        device: torch.device,
    ) -> None:
        self.model, self.family, self.device = model.to(device).eval(), family, device
        self._processor, self._base_tokens = processor, base_tokens
        self.model.requires_grad_(False)
        self._decoder = model.get_decoder()
        self._positions: Tensor | None = None
        self._decoder.register_forward_pre_hook(self._note_positions, with_kwargs=True)
        self.image_token = _image_token(model.config)
        self.image = family.image.of(self.config)

    @classmethod
    def load(
        cls, name: str | Path, tokens: int, *, device: torch.device, dtype: torch.dtype
    ) -> BaseModel:
        """The model with that Hugging Face name or folder, its base views under a budget of
        `tokens`. Raises DataError if it is no such.
        """
        from transformers import AutoModelForImageTextToText, AutoProcessor, PretrainedConfig
        from transformers.utils import logging

        logging.disable_progress_bar()
        register()
        try:
            family = check_family(PretrainedConfig.get_config_dict(name)[0])
            model = AutoModelForImageTextToText.from_pretrained(
                name, dtype=dtype, attn_implementation={"text_config": NAME}
            )
            processor = AutoProcessor.from_pretrained(name)
            if processor.tokenizer.pad_token is None:  # any will do: padding is cut off again
                processor.tokenizer.pad_token = processor.tokenizer.convert_ids_to_tokens(0)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"cannot load the model {name}: {reason}") from error
        return cls(model, processor, family, tokens, device)

    @property
    def config(self) -> dict[str, Any]:
        """The model's `config.json`."""
        values: dict[str, Any] = self.model.config.to_dict()
        return values

    def fingerprint(self) -> str:
        """Changes with the model's weights: a hash of the beginning of every tensor."""
        found = hashlib.sha256()
        for name, values in sorted(self.model.state_dict().items()):
            some = values.flatten()[:64].float().cpu()
            found.update(f"{name} {tuple(values.shape)} {some.tolist()}".encode())
        return found.hexdigest()[:16]

    @property
    def layers(self) -> Sequence[Any]:
        """The decoder layers."""
        layers: Sequence[Any] = self._decoder.layers
        return layers

    @property
    def heads(self) -> int:
        """Query heads of each layer."""
        return int(self._decoder.config.num_attention_heads)

    def view(self, picture: Image.Image) -> Image.Image:
        """The base view of an RGB picture, as the server shows it."""
        return base_view(picture, self._base_tokens, self.image)

    def prompts(
        self,
        views: Sequence[Image.Image],
        questions: Sequence[str],
        crops: Sequence[Image.Image] | None = None,
    ) -> Prompts:
        """Chats of one base view (see `view`) and one question each; with a crop of the picture
        right after its view, if there are `crops`.
        """
        shown = list(zip(views, crops, strict=True)) if crops else [(view,) for view in views]
        pictures = [{"type": "image"}] * (2 if crops else 1)
        chats = [
            self._processor.apply_chat_template(
                [{"role": "user", "content": [*pictures, {"type": "text", "text": q}]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for q in questions
        ]
        made = self._processor(text=chats, images=[image for images in shown for image in images],
                               padding=True, padding_side="right", return_tensors="pt")  # fmt: skip
        shape, lengths = made["input_ids"].shape, made["attention_mask"].sum(1)
        by_token = {name: values for name, values in made.items() if values.shape == shape}
        return Prompts(
            tokens=tuple(
                {name: values[i, :length] for name, values in by_token.items()}
                for i, length in enumerate(lengths.tolist())
            ),
            pictures={n: v for n, v in made.items() if n not in by_token},
            grids=tuple(self._grid(view) for view in views),
            image_token=self.image_token,
        )

    def answer_tokens(self, answer: str) -> list[int]:
        """The tokens of an answer the data gives."""
        ids: list[int] = self._processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
        return ids

    def text(self, tokens: Sequence[int]) -> str:
        """The words of an answer."""
        words: str = self._processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return words.strip()

    @torch.inference_mode()
    def answers(self, prompts: Prompts, longest: int) -> list[list[int]]:
        """The model's own answers, sampled greedily: token ids, the end token included."""
        inputs = self._to_device(prompts.padded("left"))
        made = self.model.generate(
            **inputs, max_new_tokens=longest, do_sample=False, temperature=None, top_p=None,
            top_k=None,
        )  # fmt: skip
        end = self.model.generation_config.eos_token_id
        ends = set(end if isinstance(end, list) else [end])
        rows = made[:, inputs["input_ids"].shape[1] :].tolist()
        return [_up_to_end(row, ends) for row in rows]

    @torch.inference_mode()
    def attention(
        self,
        prompts: Prompts,
        answers: Sequence[Sequence[int]],
        queries: str,
        layers: Mapping[int, Sequence[int]],
    ) -> dict[int, Tensor]:
        """Attention to the picture, averaged over rows: {layer: float32 [chats, heads, cells]}.

        The rows are those of the answer's tokens but the last (`queries` "decode", as published),
        of the question's last token ("prefill"), or both. An answer of one token has only the
        latter. `layers`: the heads requested of each layer.
        """
        fed = [list(answer[:-1]) if queries != "prefill" else [] for answer in answers]
        rows = [
            list(range(n - 1 if queries != "decode" or not answer else n, n + len(answer)))
            for n, answer in zip(prompts.lengths, fed, strict=True)
        ]
        request = AttentionRequest(
            rows=nn.utils.rnn.pad_sequence(
                [torch.tensor(r) for r in rows], batch_first=True, padding_value=-1
            ).to(self.device),
            cells=prompts.cells().to(self.device),
            layers=layers,
        )
        inputs = self._to_device(prompts.padded(answers=fed))
        maps = recorded_attention(self.model, self.layers, request, lambda: self._run(inputs))
        return {layer: found.cpu() for layer, found in maps.items()}

    @torch.no_grad()
    def tapped(self, prompts: Prompts) -> TapStates:
        """The states that leave the last layer there is; see `keep_layers`."""
        inputs = self._to_device(prompts.padded())
        hidden = self._run(inputs)
        positions = self._positions
        if positions is None:
            places = torch.arange(hidden.shape[1], device=self.device)
            positions = places.expand(hidden.shape[0], -1)
        if positions.ndim == 2:
            positions = positions.expand(3, *positions.shape)
        last = torch.tensor(prompts.lengths, device=self.device) - 1
        return TapStates(hidden, positions[-3:], last)

    @contextmanager
    def only_layers(self, count: int) -> Iterator[None]:
        """As `keep_layers`, for as long as the block runs; no answers can be asked for in it."""
        layers, norm = self._decoder.layers, self._decoder.norm
        self._decoder.layers, self._decoder.norm = layers[:count], nn.Identity()
        try:
            yield
        finally:
            self._decoder.layers, self._decoder.norm = layers, norm

    def keep_layers(self, count: int) -> None:
        """Drops all decoder layers after the first `count`, and the final norm."""
        self._decoder.layers = self._decoder.layers[:count]
        self._decoder.norm = nn.Identity()
        self.model.lm_head = None

    def new_rpn(self, config: RpnConfig) -> RegionProposalNetwork:
        """An RPN that begins as a copy of the layers that follow its tap, float32.

        Raises DataError if those layers lack a part of it.
        """
        rpn = RegionProposalNetwork(config)
        request = rpn.state_dict()
        source = {f"score_norm.{n}": v for n, v in self._decoder.norm.state_dict().items()}
        for number in range(config.depth):
            layer = self.layers[config.tap_layer + number].state_dict()
            source |= {f"layers.{number}.{name}": values for name, values in layer.items()}
        missing = sorted(request.keys() - source.keys())
        if missing:
            raise DataError(f"the model's layers have no {missing[0]}")
        rpn.load_state_dict({name: source[name].float() for name in request})
        return rpn

    def _run(self, inputs: Mapping[str, Tensor]) -> Tensor:
        hidden: Tensor = self.model.base_model(**inputs, use_cache=False).last_hidden_state
        return hidden

    def _to_device(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        floats = {n: v.to(self.model.dtype) for n, v in inputs.items() if v.is_floating_point()}
        return {name: v.to(self.device) for name, v in {**inputs, **floats}.items()}

    def _grid(self, view: Image.Image) -> tuple[int, int]:
        cell = self.image.cell
        rows, cols = view.height // cell, view.width // cell
        return self.image.shape((rows, cols), rows * cols)

    def _note_positions(self, _module: Any, _args: Any, named: dict[str, Any]) -> None:
        self._positions = named.get("position_ids")


def check_family(config: Mapping[str, Any]) -> Family:
    """The family of a model with this `config.json`. Raises DataError if we serve none such."""
    architecture = next(iter(config.get("architectures") or ["(none)"]))
    family = family_of_architecture(architecture)
    if family is None:
        raise DataError(f"RPNs for architecture {architecture} are not supported")
    if architecture == family.published_architecture:
        raise DataError(
            f"transformers cannot run a {architecture} in its original layout; train with the same "
            f"model in Hugging Face's ({family.hf_architecture}): the RPN fits both"
        )
    return family


def _image_token(config: Any) -> int:
    return int(getattr(config, "image_token_id", None) or config.image_token_index)


def _up_to_end(row: list[int], ends: set[int]) -> list[int]:
    stops = [place for place, token in enumerate(row) if token in ends]
    return row[: stops[0] + 1] if stops else row
