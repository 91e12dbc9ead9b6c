"""What regions are worth on held-out questions, and which threshold is served."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rpn_plugin.distill.data.samples import Sample
from rpn_plugin.distill.labels.label_step import SampleLabels
from rpn_plugin.distill.labels.pseudo_labels import BACKGROUND, FOREGROUND
from rpn_plugin.distill.train.evaluation import Evaluation, ThresholdResult, measure


def row(threshold: float, held: float, area: float) -> ThresholdResult:
    return ThresholdResult(threshold, held, held, area, 1.0, None)


def test_the_served_threshold_holds_most_and_cuts_away_most() -> None:
    whole_page, good, tight = row(0.02, 1.0, 0.76), row(0.2, 0.95, 0.15), row(0.4, 0.5, 0.03)
    assert Evaluation(9, 0.1, 0.9, (whole_page, good, tight)).best() == good
    assert Evaluation(0, 0.0, 0.0, ()).best() is None


def test_a_question_holds_its_label_or_does_not() -> None:
    """One map has its peak where the label is, the other one elsewhere; both pages have a box."""
    here, there = torch.full((20, 20), -9.0), torch.full((20, 20), -9.0)
    here[4:9, 4:9] = there[12:17, 12:17] = 9.0
    labels = torch.full((20, 20), BACKGROUND, dtype=torch.int8)
    labels[5:8, 5:8] = FOREGROUND
    held_out = [SampleLabels(n, labels, torch.zeros(20, 20), (560, 560)) for n in range(2)]
    box = (5 * 28.0, 5 * 28.0, 8 * 28.0, 8 * 28.0)
    samples = [Sample(str(n), Path("page.png"), "Where?", box=box) for n in range(2)]
    measured = measure({0: here, 1: there}, held_out, samples, "qwen2_5_vl", thresholds=(0.3,))
    [at] = measured.thresholds
    assert (at.kept, at.held, at.found, at.covered) == (0.5, 0.5, 1.0, 0.5)
    assert at.area == 25 / 400
    assert measured.right == pytest.approx(1 - (16 + 9 + 25) / 800)
