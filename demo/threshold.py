"""Chooses the threshold an RPN is served with: by right answers on validation pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import torch

from demo.language_stage import answer_accuracy
from demo.packing import Layout, Question, pack
from demo.page_features import PageFeatures, ViewFeatures, describe_page, fill_in
from demo.pages import Page, render_page
from demo.questions import code_question
from demo.roi_maps import pack_codes, rpn_logits
from demo.views import View, crop_view
from rpn_plugin.head import RegionProposalNetwork
from rpn_plugin.roi import regions_from_map

VALIDATION_SEED = 304
_THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
_CHANCE = 0.02
"""About one standard error of a share of right answers on 200 validation pages."""


@torch.no_grad()
def best_threshold(
    model: Any, rpn: RegionProposalNetwork, pages: int, say: Callable[[str], None]
) -> float:
    """The lowest threshold whose answers on validation pages are as right as any, but for chance.

    The lowest, because a region too large costs sharpness and one too small costs the answer.
    """
    rendered = [render_page(VALIDATION_SEED, index) for index in range(pages)]
    described = [describe_page(page, Random(0), crops=0) for page in rendered]
    features = fill_in(model.model.visual, [v for v, _ in described], [p for _, p in described])
    maps = [_map_of(model, rpn, p, page.asked) for page, p in zip(rendered, features, strict=True)]
    found: list[tuple[float, float]] = []
    for threshold in _THRESHOLDS:
        crops = [_crop(page, m, threshold) for page, m in zip(rendered, maps, strict=True)]
        share = _answers(model, rendered, features, crops)
        covered = sum(_covered(p, c) for p, c in zip(rendered, crops, strict=True)) / len(crops)
        side = np.mean([((c.box[2] - c.box[0]) * (c.box[3] - c.box[1])) ** 0.5 for c in crops if c])
        say(f"threshold {threshold}: answers {share:.3f}, covers {covered:.3f}, side {side:.0f} px")
        found.append((share, threshold))
    best = max(share for share, _ in found)
    return min(threshold for share, threshold in found if share >= best - _CHANCE)


def _map_of(
    model: Any, rpn: RegionProposalNetwork, page: PageFeatures, asked: int
) -> np.ndarray[Any, Any]:
    logits = rpn_logits(model.model.language_model, rpn, pack_codes([(page, asked)]))
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
