"""How well an RPN does on questions it was not trained on, and the threshold it is served with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rpn_plugin.distill.data.batches import chunks
from rpn_plugin.distill.data.samples import Sample
from rpn_plugin.distill.data.states import States
from rpn_plugin.distill.labels.label_step import SampleLabels
from rpn_plugin.distill.labels.pseudo_labels import FOREGROUND, IGNORE
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.distill.train.loss import label_loss
from rpn_plugin.distill.train.training import logits_on_grids
from rpn_plugin.network.rpn import RegionProposalNetwork
from rpn_plugin.regions.boxes import Region, regions_from_map

THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)

COVERED = 0.8
"""A region covers a box, or what is labelled, if it holds this share of it."""


@dataclass(frozen=True)
class ThresholdResult:
    """Means over questions. `kept`: the share of labelled foreground cells inside the region, and
    `held`: of questions where that is COVERED or more. `area`: the region's share of the picture.
    `found`: questions that have a region. `covered`: questions whose region covers the true box,
    None where the data has no boxes."""

    threshold: float
    kept: float
    held: float
    area: float
    found: float
    covered: float | None


@dataclass(frozen=True)
class Evaluation:
    """On held-out questions. `loss` and `right` (share of labelled cells) of the maps themselves;
    `label_covered`: as `covered`, of regions drawn from the labels instead of the RPN's maps."""

    questions: int
    loss: float
    right: float
    thresholds: tuple[ThresholdResult, ...]

    def at(self, threshold: float) -> ThresholdResult:
        """The row of that threshold."""
        return min(self.thresholds, key=lambda row: abs(row.threshold - threshold))

    def best(self) -> ThresholdResult | None:
        """The row that holds most labels and leaves most of the picture out: a region too small
        costs the answer, one too large is no sharper than the base view."""
        return max(self.thresholds, key=lambda row: row.held * (1 - row.area), default=None)


def roi_maps(
    rpn: RegionProposalNetwork, states: States, numbers: Sequence[int], settings: DistillSettings
) -> dict[int, Tensor]:
    """The RPN's maps, float32 [rows, cols], by sample number."""
    maps: dict[int, Tensor] = {}
    with torch.inference_mode():
        for batch in states.batches(chunks(numbers, settings.micro_batch)):
            found = logits_on_grids(rpn, batch, settings.precision == "bfloat16")
            maps |= {n: m.cpu() for n, m in zip(batch.numbers, found, strict=True)}
    return maps


def measure(
    maps: dict[int, Tensor],
    held_out: Sequence[SampleLabels],
    samples: Sequence[Sample],
    family: str,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Evaluation:
    """What `maps` are worth on held-out questions."""
    if not held_out:
        return Evaluation(0, 0.0, 0.0, ())
    labels = [item.labels for item in held_out]
    found = [maps[item.number] for item in held_out]
    loss, cells = label_loss(found, labels)
    right = sum(
        int(((m > 0) == (t == FOREGROUND))[t != IGNORE].sum())
        for m, t in zip(found, labels, strict=True)
    )
    rows = [_at(threshold, found, held_out, samples, family) for threshold in thresholds]
    return Evaluation(
        len(held_out), float(loss) / max(cells, 1), right / max(cells, 1), tuple(rows)
    )


def _at(
    threshold: float,
    maps: Sequence[Tensor],
    held_out: Sequence[SampleLabels],
    samples: Sequence[Sample],
    family: str,
) -> ThresholdResult:
    kept, area, covered = [], [], []
    for logits, item in zip(maps, held_out, strict=True):
        regions = regions_from_map(logits.numpy(), item.size, threshold=threshold, family=family)
        inside = _cells_inside(regions, tuple(item.labels.shape))
        foreground = (item.labels == FOREGROUND).numpy()
        if foreground.any():
            kept.append(float(inside[foreground].mean()))
        area.append(float(inside.mean()))
        box = samples[item.number].box
        if box is not None:
            covered.append(float(cover(regions, box) >= COVERED))
    return ThresholdResult(
        threshold,
        kept=float(np.mean(kept)) if kept else 1.0,
        held=float(np.mean([share >= COVERED for share in kept])) if kept else 1.0,
        area=float(np.mean(area)),
        found=float(np.mean([a > 0 for a in area])),
        covered=float(np.mean(covered)) if covered else None,
    )


def cover(regions: Sequence[Region], box: tuple[float, float, float, float]) -> float:
    """The largest share of `box` (pixels) that one of the regions holds."""
    return max((share_inside(region.box, box) for region in regions), default=0.0)


def share_inside(region: Sequence[float], box: Sequence[float]) -> float:
    """The share of `box` that lies in `region`, both [x0, y0, x1, y1]."""
    width = max(0.0, min(box[2], region[2]) - max(box[0], region[0]))
    height = max(0.0, min(box[3], region[3]) - max(box[1], region[1]))
    return width * height / ((box[2] - box[0]) * (box[3] - box[1]))


def _cells_inside(regions: Sequence[Region], grid: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(grid, dtype=bool)
    for region in regions:
        x0, y0, x1, y1 = region.cells
        inside[y0:y1, x0:x1] = True
    return inside
