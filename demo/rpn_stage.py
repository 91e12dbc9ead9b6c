"""Stage 3: the region proposal network learns where the model looks, and nothing else.

Its labels are the paper's pseudo-labels of the model's own attention; it never sees a box. The
threshold it is served with is chosen by right answers on pages of a seed that neither training nor
the evaluation uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from demo.attention import Head, ask_each, attention_maps, believed_maps, rank_heads
from demo.language import hidden_states
from demo.language_stage import answer_accuracy
from demo.packing import Layout, Packed, Question, pack
from demo.page_features import PageFeatures, ViewFeatures, describe_page, fill_in
from demo.pages import BASE_TOKENS, Page, render_page
from demo.questions import code_question
from demo.stage import Optimizers, Stage
from demo.views import CROP_TOKENS, View, crop_view
from rpn_plugin.config import RpnConfig
from rpn_plugin.distill.labels import IGNORE, pseudo_labels
from rpn_plugin.head import RegionProposalNetwork
from rpn_plugin.roi import regions_from_map

RPN_SEED = 303
VALIDATION_SEED = 304
TAP_LAYER = 1
DEPTH = 2
_HEADS = 3
_BATCH = 64
_THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
_NOISE = 0.02
"""Shares of right answers closer than this are not told apart by the validation pages."""


_CHANCE = 0.02
"""About one standard error of a share of right answers on the validation pages."""

Asked = tuple[PageFeatures, int]
"""A page, and the place of the thing asked for."""


def train_rpn(model: Any, folder: Path, steps: int, pages: int) -> RegionProposalNetwork:
    """Trains an RPN for `model`, or loads it if this stage is finished; chooses its threshold."""
    rpn = _from_base_layers(model)
    optimizers = Optimizers(rpn, muon=2e-3, adamw=3e-4, matrices="layers.")
    stage = Stage("rpn", folder, steps, {"rpn": rpn, "optimizers": optimizers})
    if stage.done < steps:
        by_grid = _pages_by_grid(model.model.visual, pages)
        language = model.model.language_model
        heads = rank_heads(language, [p for same in by_grid for p in same[:40]])
        for head in heads[:6]:
            stage.say(f"layer {head.layer} head {head.head} follows the question {head.score:.3f}")

        def step(number: int) -> dict[str, float]:
            asked = _draw(by_grid, Random(f"rpn {number}"))
            loss, numbers = _distill(language, rpn, asked, heads[:_HEADS])
            loss.backward()
            optimizers.step(number / steps)
            return {"loss": loss.item(), **numbers}

        stage.run(step)
    threshold = _best_threshold(model, rpn, stage)
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


def _pack_codes(asked: Sequence[Asked]) -> Packed:
    return ask_each([(p, code_question(p.kind, p.things[n].name)) for p, n in asked])


def _distill(
    language: Any, rpn: RegionProposalNetwork, asked: Sequence[Asked], heads: Sequence[Head]
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch against pseudo-labels of the model's attention."""
    packed = _pack_codes(asked)
    deepest = max(head.layer for head in heads) + 1
    attention = believed_maps(attention_maps(language, packed, layers=deepest), heads)
    rows, cols = asked[0][0].views[0].grid
    labels = torch.from_numpy(
        np.stack([pseudo_labels(a.reshape(rows, cols).numpy()).labels for a in attention])
    ).flatten(1)
    logits = rpn_logits(language, rpn, packed)
    counted = labels != IGNORE
    loss = F.binary_cross_entropy_with_logits(logits[counted], labels[counted].float())
    right = ((logits > 0) == (labels == 1))[counted].float().mean()
    return loss, {
        "right": right.item(),
        "foreground": (labels == 1).float().sum(1).mean().item(),
        "ignored": (~counted).float().mean().item(),
    }


def rpn_logits(language: Any, rpn: RegionProposalNetwork, packed: Packed) -> Tensor:
    """RoI maps float32 [questions, cells] for rows of one question each, of one grid."""
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        tapped, _ = hidden_states(language, packed, layers=rpn.config.tap_layer)
    logits: Tensor = rpn(tapped.float(), packed.positions, packed.ends[:, 1])
    return logits[:, packed.image_mask[0]]


@torch.no_grad()
def _best_threshold(model: Any, rpn: RegionProposalNetwork, stage: Stage) -> float:
    """The lowest threshold whose answers on validation pages are as right as any, but for chance.

    The lowest, because a region too large costs sharpness and one too small costs the answer.
    """
    rendered = [render_page(VALIDATION_SEED, index) for index in range(200)]
    described = [describe_page(page, Random(0), crops=0) for page in rendered]
    features = fill_in(model.model.visual, [v for v, _ in described], [p for _, p in described])
    maps = [_map_of(model, rpn, p, page.asked) for page, p in zip(rendered, features, strict=True)]
    found: list[tuple[float, float]] = []
    for threshold in _THRESHOLDS:
        crops = [_crop(page, m, threshold) for page, m in zip(rendered, maps, strict=True)]
        share = _answers(model, rendered, features, crops)
        covered = sum(_covered(p, c) for p, c in zip(rendered, crops, strict=True)) / len(crops)
        side = np.mean([((c.box[2] - c.box[0]) * (c.box[3] - c.box[1])) ** 0.5 for c in crops if c])
        stage.say(
            f"threshold {threshold}: answers {share:.3f}, covers {covered:.3f}, side {side:.0f} px"
        )
        found.append((share, threshold))
    best = max(share for share, _ in found)
    return min(threshold for share, threshold in found if share >= best - _CHANCE)


def _map_of(
    model: Any, rpn: RegionProposalNetwork, page: PageFeatures, asked: int
) -> np.ndarray[Any, Any]:
    logits = rpn_logits(model.model.language_model, rpn, _pack_codes([(page, asked)]))
    return logits[0].reshape(page.views[0].grid).numpy()


def _crop(page: Page, logits: np.ndarray[Any, Any], threshold: float) -> View | None:
    regions = regions_from_map(logits, page.image.size, threshold=threshold)
    return crop_view(page, regions[0].box) if regions else None


def _covered(page: Page, crop: View | None) -> bool:
    """Whether the crop covers at least 80 % of the asked thing (reported, not trained on)."""
    if crop is None:
        return False
    box = page.things[page.asked].box
    width = min(box[2], crop.box[2]) - max(box[0], crop.box[0])
    height = min(box[3], crop.box[3]) - max(box[1], crop.box[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0, width) * max(0, height) >= 0.8 * area


def _answers(
    model: Any,
    rendered: Sequence[Page],
    features: Sequence[PageFeatures],
    crops: Sequence[View | None],
) -> float:
    """The share of right answers with these crops."""
    rows = []
    for page, base, crop in zip(rendered, features, crops, strict=True):
        views = [[crop]] if crop else [[]]
        empty = tuple(ViewFeatures(v.grid, torch.empty(0), ()) for v in views[0])
        cropped = fill_in(model.model.visual, views, [replace(base, views=empty)])[0]
        both = replace(base, views=base.views + cropped.views)
        thing = page.things[page.asked]
        question = code_question(page.kind, thing.name)
        rows.append((both, [Question(question, thing.code, len(cropped.views), "answer")]))
    return answer_accuracy(
        model, [pack(rows[i : i + 50], Layout(1, 1)) for i in range(0, len(rows), 50)]
    )["answer"]
