"""Heads found without boxes look at what is asked for; the sweep prefers what is cheap to serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.batches import chats_of
from rpn_plugin.distill.data.formats import read_samples
from rpn_plugin.distill.data.samples import Sample
from rpn_plugin.distill.labels.attention_maps import combined
from rpn_plugin.distill.labels.head_search import HeadMaps, find_heads
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.distill.train.sweep import SweepResult, choose, table, tap_layers
from server.shipped_model import SHIPPED_MODEL

pytestmark = pytest.mark.slow

CALIBRATION = 12


def peak_is_on_the_thing(sample: Sample, cells: torch.Tensor) -> bool:
    """Whether the middle of the strongest cell [rows, cols] lies in or beside the true box."""
    assert sample.box is not None
    rows, cols = cells.shape
    width, height = sample.picture().size
    row, col = divmod(int(cells.argmax()), cols)
    x, y = (col + 0.5) * width / cols, (row + 0.5) * height / rows
    x0, y0, x1, y1 = sample.box
    room_x, room_y = width / cols / 2, height / rows / 2
    return x0 - room_x <= x <= x1 + room_x and y0 - room_y <= y <= y1 + room_y


def test_heads_of_the_shipped_model_look_at_what_is_asked_for(pages: Path, tmp_path: Path) -> None:
    samples = read_samples(pages)[0]
    base = BaseModel.load(SHIPPED_MODEL, 64, device=torch.device("cpu"), dtype=torch.float32)
    settings = DistillSettings(calibration=CALIBRATION, label_batch=12, max_new_tokens=3)
    found = find_heads(base, samples, settings, Log(tmp_path / "log", speaks=False))

    (chats,) = chats_of(base, samples, [range(len(samples))], 1, [])
    answers = base.answers(chats.prompts, 3)
    maps = combined(base.attention(chats.prompts, answers, found.rows, found.heads))
    hits = [
        peak_is_on_the_thing(sample, seen[: grid[0] * grid[1]].reshape(grid))
        for sample, seen, grid in zip(samples, maps, chats.prompts.grids, strict=True)
    ]
    assert np.mean(hits) > 0.8  # a head of layer 0 or 5 points right in about one of ten


WAYS = range(4)
"""Plain, reworded, mirrored, about another thing."""


def maps_of(cells: Callable[[int, int, int], Tensor], questions: int, heads: int) -> HeadMaps:
    """A model of one layer; `cells` of a way, a question and a head."""
    made = [
        torch.stack([torch.stack([cells(w, q, h) for h in range(heads)]) for q in range(questions)])
        for w in WAYS
    ]
    return HeadMaps(*(way[:, None].half() for way in made))


THING, ANOTHER, SINK, *NOISE = torch.eye(7)


def test_a_head_that_never_moves_scores_nothing() -> None:
    follows = [THING, THING, THING, ANOTHER]
    maps = maps_of(lambda way, _, head: SINK if head else follows[way], questions=4, heads=2)
    assert maps.alone().tolist() == [[1.0, 0.0]]
    assert maps.best(8) == [((0, 0), 1.0)]


def test_heads_are_taken_for_what_they_add_to_the_others() -> None:
    """Of two questions heads 0 and 1 follow one each; head 2 is as head 0."""
    follows = [THING, THING, THING, ANOTHER]
    maps = maps_of(
        lambda way, question, head: follows[way] if question == head % 2 else NOISE[way] / 2,
        questions=2,
        heads=3,
    )
    assert maps.alone().tolist() == [[0.5, 0.5, 0.5]]
    assert maps.best(8) == [((0, 0), 0.5), ((0, 1), pytest.approx(0.8))]
    assert maps.best(1) == [((0, 0), 0.5)]


def tried(tap_layer: int, depth: int, loss: float) -> SweepResult:
    return SweepResult(tap_layer, depth, loss, 0.9, 0.1, 0.95, 0.2, None)


def test_the_shallowest_then_earliest_of_equals_is_chosen() -> None:
    rows = [tried(2, 3, 0.100), tried(4, 2, 0.101), tried(3, 2, 0.1015), tried(1, 1, 0.2)]
    best = choose(rows)
    assert best == rows[2]
    lines = table(rows, best).splitlines()
    assert len(lines) == 2 + len(rows)
    assert [line for line in lines if "chosen" in line] == [lines[4]]
    assert lines[4].startswith("| 3 | 2 |")


def test_tap_layers_of_large_and_small_models() -> None:
    assert tap_layers(28) == (4, 8, 12, 16, 20)
    assert tap_layers(6) == (1, 2, 3, 4)
