"""The loss: binary cross-entropy of RoI maps against pseudo-labels (released `roi_loss` "bce")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rpn_plugin.distill.labels.pseudo_labels import IGNORE


def label_loss(maps: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[Tensor, int]:
    """The summed loss of a batch, and over how many cells: their quotient is the batch's loss.

    `maps`: logits float [rows, cols], resized bilinearly where the labels have another grid;
    `labels`: int [rows, cols] of 1, 0 and IGNORE. Cells count alike wherever they are, as in the
    released code: a picture with many labelled cells counts more than one with few. With nothing
    to learn the sum is 0. At least one map is needed.
    """
    logits, targets = [], []
    for logit, label in zip(maps, labels, strict=True):
        counted = label != IGNORE
        logits.append(_resized(logit, label.shape)[counted])
        targets.append(label[counted])
    all_logits, all_targets = torch.cat(logits).float(), torch.cat(targets).float()
    loss = F.binary_cross_entropy_with_logits(all_logits, all_targets, reduction="sum")
    return loss, all_targets.numel()


def _resized(logits: Tensor, shape: torch.Size) -> Tensor:
    if logits.shape == shape:
        return logits
    return F.interpolate(logits[None, None], size=tuple(shape), mode="bilinear")[0, 0]
