"""The first step of a gate: every question is answered from the base view, and with zoom.

What a gate is to learn follows from the two. Where the data has answers: a question needs a zoom if
only the zoomed answer is right, and none if the base view's is right; where neither is, nothing is
learnt. Without answers: it needs one if the two differ.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.batches import Chats, chats_of, chunks
from rpn_plugin.distill.data.samples import RejectedRow, Sample
from rpn_plugin.distill.data.shards import Shards
from rpn_plugin.distill.data.states import StateBatch
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.labels.label_step import fingerprint
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.distill.train.training import logits_on_grids
from rpn_plugin.images.crops import crop_box, crop_view
from rpn_plugin.network.rpn import RegionProposalNetwork
from rpn_plugin.regions.boxes import Box, regions_from_map

ANSWER_FIELDS = ("max_new_tokens", "max_samples", "precision", "label_batch", "shard", "split")
"""Settings that answers depend on, to the bit."""


@dataclass(frozen=True)
class AnswerPair:
    """Both answers to one sample; `zoom` None: the RPN found no region, so there is no zoom."""

    number: int
    base: str
    zoom: str | None
    base_right: bool
    zoom_right: bool

    @property
    def need(self) -> float | None:
        """1 for a question that needs a zoom, 0 for one that needs none, None for neither."""
        if self.zoom is None:
            return None
        if self.base_right:
            return 0.0
        return 1.0 if self.zoom_right else None


def judged(number: int, base: str, zoom: str | None, truths: Sequence[str]) -> AnswerPair:
    """Whether the two answers are right; without `truths` the zoomed one is what is right."""
    if not truths:
        truths = [base if zoom is None else zoom]
    good = any(is_right(base, truth) for truth in truths)
    better = good if zoom is None else any(is_right(zoom, truth) for truth in truths)
    return AnswerPair(number, base, zoom, good, better)


def is_right(answer: str, truth: str) -> bool:
    """Whether an answer says `truth`, whatever the case and punctuation: as a word or words of it,
    if they are not all.
    """
    words, expected = _words(answer), _words(truth)
    if not expected:
        return not words
    return any(
        words[i : i + len(expected)] == expected for i in range(len(words) - len(expected) + 1)
    )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def answer_settings(
    settings: DistillSettings, samples: Sequence[Sample], model: str, rpn: RegionProposalNetwork
) -> dict[str, Any]:
    """All that the answers depend on, to the bit; `model` is BaseModel.fingerprint."""
    weights = hashlib.sha256()
    for tensor in rpn.state_dict().values():
        weights.update(tensor.cpu().numpy().tobytes())
    serving = ("tap_layer", "depth", "threshold", "base_tokens", "crop_tokens")
    return {
        **settings.model_dump(mode="json", include=set(ANSWER_FIELDS)),
        "samples": fingerprint(samples),
        "model": model,
        "rpn": {
            **{name: getattr(rpn.config, name) for name in serving},
            "weights": weights.hexdigest(),
        },
    }


def make_answers(
    base: BaseModel,
    rpn: RegionProposalNetwork,
    samples: Sequence[Sample],
    shards: Shards,
    settings: DistillSettings,
    processes: Processes,
    log: Log,
) -> None:
    """Makes the shards that are missing; each process its share of them."""
    missing = shards.missing()
    pieces = chunks(range(len(samples)), settings.shard)
    done = len(samples) - sum(len(pieces[number]) for number in missing)
    bar = log.bar("answers", len(samples), done)
    for number in missing[processes.rank :: processes.count]:
        rejected: list[RejectedRow] = []
        pairs: dict[str, tuple[str, str | None]] = {}
        batches = chunks(pieces[number], settings.label_batch)
        for chats in chats_of(base, samples, batches, settings.workers, rejected):
            pairs |= _answer(base, rpn, chats, samples, settings)
            bar.update(len(chats.numbers) * processes.count)
        about = {"rejected": [[r.row, r.reason] for r in rejected], "answers": pairs}
        shards.write(number, {"numbers": torch.tensor([int(n) for n in pairs])}, about)
    bar.close()
    processes.wait()


def read_answers(
    shards: Shards, samples: Sequence[Sample]
) -> tuple[list[AnswerPair], list[RejectedRow]]:
    """All answers, judged, in the order of the samples; and whose picture was no good."""
    answered: list[AnswerPair] = []
    rejected: list[RejectedRow] = []
    for shard in range(shards.count):
        about: Mapping[str, Any] = shards.about(shard)
        rejected += [RejectedRow(*pair) for pair in about["rejected"]]
        for number, (base, zoom) in about["answers"].items():
            answered.append(judged(int(number), base, zoom, samples[int(number)].answers))
    return answered, rejected


def _answer(
    base: BaseModel,
    rpn: RegionProposalNetwork,
    chats: Chats,
    samples: Sequence[Sample],
    settings: DistillSettings,
) -> dict[str, tuple[str, str | None]]:
    """Both answers of a batch, by sample number."""
    first = base.answers(chats.prompts, settings.max_new_tokens)
    crops = {
        number: (picture := samples[number].picture(),
                 _crop(base, picture, box, rpn.config.crop_tokens))
        for number, box in _boxes(base, rpn, chats, settings).items()
    }  # fmt: skip
    second: dict[int, str] = {}
    if crops:
        prompts = base.prompts(
            [base.view(picture) for picture, _ in crops.values()],
            [samples[number].question for number in crops],
            [shown for _, shown in crops.values()],
        )
        answers = base.answers(prompts, settings.max_new_tokens)
        second = {n: base.text(tokens) for n, tokens in zip(crops, answers, strict=True)}
    return {
        str(number): (base.text(tokens), second.get(number))
        for number, tokens in zip(chats.numbers, first, strict=True)
    }


def _crop(base: BaseModel, picture: Image.Image, box: Box, tokens: int) -> Image.Image:
    return crop_view(picture, crop_box(box, picture.size, base.image.cell), tokens, base.image)


@torch.inference_mode()
def _boxes(
    base: BaseModel, rpn: RegionProposalNetwork, chats: Chats, settings: DistillSettings
) -> dict[int, Box]:
    """The region of each picture that has one, as the server would draw it."""
    prompts, config = chats.prompts, rpn.config
    with base.only_layers(config.tap_layer):
        tapped = base.tapped(prompts)
    batch = StateBatch(chats.numbers, tapped, prompts.cells().to(base.device), prompts.grids)
    maps = logits_on_grids(rpn, batch, settings.precision == "bfloat16")
    pairs: dict[int, Box] = {}
    for number, size, logits in zip(chats.numbers, chats.sizes, maps, strict=True):
        regions = regions_from_map(
            logits.cpu().numpy(),
            size,
            threshold=config.threshold,
            family=config.family,
            rules=config.rules,
        )
        if regions:
            pairs[number] = regions[0].box
    return pairs
