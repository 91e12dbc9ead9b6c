"""Stage 3: the region proposal network learns where the model looks, and nothing else.

Its labels are the paper's pseudo-labels of the model's own attention; it never sees a box. The
threshold it is served with is chosen by right answers on pages of a seed that neither training nor
the evaluation uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from demo.attention import Head, attention_maps, believed_maps, rank_heads
from demo.page_features import PageFeatures, describe_page, fill_in
from demo.pages import BASE_TOKENS, render_page
from demo.roi_maps import Asked, pack_codes, rpn_logits
from demo.stage import Optimizers, Stage
from demo.threshold import best_threshold
from demo.views import CROP_TOKENS
from rpn_plugin.config import RpnConfig
from rpn_plugin.distill.labels import IGNORE, pseudo_labels
from rpn_plugin.head import RegionProposalNetwork

RPN_SEED = 303
TAP_LAYER = 1
DEPTH = 2
_HEADS = 3
_BATCH = 64


@dataclass(frozen=True)
class RpnRecipe:
    """How long to train and on how many pages; `validation_pages` choose the threshold."""

    steps: int = 800
    pages: int = 2400
    validation_pages: int = 200


def train_rpn(model: Any, folder: Path, recipe: RpnRecipe) -> RegionProposalNetwork:
    """Trains an RPN for `model`, or loads it if this stage is finished; chooses its threshold."""
    rpn = _from_base_layers(model)
    optimizers = Optimizers(rpn, muon=2e-3, adamw=3e-4, matrices="layers.")
    stage = Stage("rpn", folder, recipe.steps, {"rpn": rpn, "optimizers": optimizers})
    if stage.done < recipe.steps:
        by_grid = _pages_by_grid(model.model.visual, recipe.pages)
        language = model.model.language_model
        heads = rank_heads(language, [p for same in by_grid for p in same[:40]])
        for head in heads[:6]:
            stage.say(f"layer {head.layer} head {head.head} follows the question {head.score:.3f}")

        def step(number: int) -> dict[str, float]:
            asked = _draw(by_grid, Random(f"rpn {number}"))
            loss, numbers = _distill(language, rpn, asked, heads[:_HEADS])
            loss.backward()
            optimizers.step(number / recipe.steps)
            return {"loss": loss.item(), **numbers}

        stage.run(step)
    threshold = best_threshold(model, rpn, recipe.validation_pages, stage.say)
    rpn.config = replace(rpn.config, threshold=threshold)
    return rpn


def _from_base_layers(model: Any) -> RegionProposalNetwork:
    config = RpnConfig.for_model(
        model.config.to_dict(),
        tap_layer=TAP_LAYER,
        depth=DEPTH,
        base_tokens=BASE_TOKENS,
        crop_tokens=CROP_TOKENS,
    )
    rpn = RegionProposalNetwork(config)
    wanted = rpn.state_dict()
    for number in range(DEPTH):
        layer = model.model.language_model.layers[TAP_LAYER + number].state_dict()
        for name, tensor in layer.items():
            if f"layers.{number}.{name}" in wanted:
                wanted[f"layers.{number}.{name}"] = tensor
    rpn.load_state_dict(wanted)
    return rpn


def _pages_by_grid(tower: Any, count: int) -> list[list[PageFeatures]]:
    """Base views of `count` pages, together those that have the same grid."""
    groups: dict[tuple[int, int], list[PageFeatures]] = {}
    for first in range(0, count, 128):
        described = [
            describe_page(render_page(RPN_SEED, index), Random(index), crops=0)
            for index in range(first, min(count, first + 128))
        ]
        for page in fill_in(tower, [v for v, _ in described], [p for _, p in described]):
            groups.setdefault(page.views[0].grid, []).append(page)
    return list(groups.values())


def _draw(by_grid: list[list[PageFeatures]], rng: Random) -> list[Asked]:
    same = rng.choices(by_grid, [len(group) for group in by_grid])[0]
    pages = [rng.choice(same) for _ in range(_BATCH)]
    return [(page, rng.randrange(len(page.things))) for page in pages]


def _distill(
    language: Any, rpn: RegionProposalNetwork, asked: Sequence[Asked], heads: Sequence[Head]
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch against pseudo-labels of the model's attention."""
    packed = pack_codes(asked)
    deepest = max(head.layer for head in heads) + 1
    attention = believed_maps(attention_maps(language, packed, layers=deepest), heads)
    rows, cols = asked[0][0].views[0].grid
    labels = torch.from_numpy(
        np.stack([pseudo_labels(a.reshape(rows, cols).numpy()).labels for a in attention])
    ).flatten(1)
    logits = rpn_logits(language, rpn, packed)
    counted = labels != IGNORE
    if not counted.any():  # maps without a peak teach nothing
        return logits.sum() * 0, {}
    loss = F.binary_cross_entropy_with_logits(logits[counted], labels[counted].float())
    right = ((logits > 0) == (labels == 1))[counted].float().mean()
    return loss, {
        "right": right.item(),
        "foreground": (labels == 1).float().sum(1).mean().item(),
        "ignored": (~counted).float().mean().item(),
    }
