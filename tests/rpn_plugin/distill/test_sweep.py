"""`--auto` keeps one RPN at a time, and leaves the model it reads whole."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rpn_plugin.distill.data.samples import DataError
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.distill.train import sweep as module
from rpn_plugin.distill.train.evaluation import Evaluation, ThresholdResult
from rpn_plugin.distill.train.fitting import TrainingSet


class Rpn:
    """Something that a weak reference can tell is gone."""


class Base:
    """A model of seven layers that counts the RPNs made for it."""

    def __init__(self) -> None:
        self.layers = list(range(7))
        self.rpns: list[weakref.ref[Rpn]] = []

    @contextmanager
    def only_layers(self, count: int) -> Iterator[None]:
        whole, self.layers = self.layers, self.layers[:count]
        yield
        self.layers = whole

    def new_rpn(self, shape: tuple[int, int]) -> Rpn:
        assert len(self.layers) == 7, f"an RPN of {shape} begins from layers above its tap"
        rpn = Rpn()
        self.rpns.append(weakref.ref(rpn))
        return rpn

    @property
    def alive(self) -> int:
        return sum(rpn() is not None for rpn in self.rpns)


def measured(thresholds: bool = True) -> Evaluation:
    row = ThresholdResult(0.3, kept=1.0, held=1.0, area=0.1, found=1.0, covered=None)
    return Evaluation(1, 0.5, 0.9, (row,) if thresholds else ())


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Base:
    monkeypatch.setattr(module, "rpn_config", lambda _base, _settings, tap, depth: (tap, depth))
    monkeypatch.setattr(module, "states_of", lambda base, *_: len(base.layers))
    return Base()


def run(base: Any, folder: Path) -> module.SweepResult:
    training_set = TrainingSet([], [], [], {})
    processes: Any = SimpleNamespace(first=False)
    log = Log(folder / "log", speaks=False)
    return module.sweep(base, training_set, folder, DistillSettings(), processes, log)


def test_one_rpn_at_a_time_and_the_model_whole_afterwards(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = []

    def fit(_rpn: Rpn, _lessons: TrainingSet, tap: int, *_: object) -> Evaluation:
        alive.append(base.alive)
        assert len(base.layers) == tap, "states that are computed in training end at the tap"
        return measured()

    monkeypatch.setattr(module, "fit", fit)
    best = run(base, tmp_path)
    assert (best.tap_layer, best.depth) == (1, 1)
    assert len(alive) > 5
    assert set(alive) == {1}
    assert base.alive == 0
    assert len(base.layers) == 7


def test_without_held_out_questions_it_is_refused(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "fit", lambda *_: measured(thresholds=False))
    with pytest.raises(DataError, match="held-out questions"):
        run(base, tmp_path)
