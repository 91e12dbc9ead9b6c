"""Trains the small model from nothing: `python -m demo.train`.

Three stages, each resumable: the vision tower on dense labels, the language model on questions,
and, when the model folder is written, its RPN by `sdrpn distill`. Started again after a kill at any
time, it goes on where the last checkpoint was; checkpoints and logs lie in `--runs`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import torch

from demo.architecture import MODEL_DIR, build_model, save_model
from demo.device import training_device
from demo.language_stage import LanguageRecipe, train_language
from demo.rpn_stage import SETTINGS, RpnRecipe, distill_rpn
from demo.vision_stage import normalise_features, train_vision


@dataclass(frozen=True)
class Recipe:
    """How long to train each stage, and on how much."""

    seed: int = 0
    vision_steps: int = 6800
    language: LanguageRecipe = field(default_factory=LanguageRecipe)
    rpn: RpnRecipe = field(default_factory=RpnRecipe)


FULL = Recipe()
SMOKE = Recipe(
    vision_steps=2,
    language=LanguageRecipe(steps=2, steps_per_shard=2, shard_pages=16, held_out_pages=8),
    # Nothing stands out in an untrained model's maps: whatever is highest is a label.
    rpn=RpnRecipe(
        16, SETTINGS.model_copy(update={"label_options": "", "foreground": 0.95, "epochs": 1})
    ),
)
"""Seconds instead of an hour, for tests: every stage runs, nothing is learnt."""


def train(recipe: Recipe, runs: Path, out: Path) -> None:
    """Runs what is left of the recipe and writes the model folder to `out`."""
    torch.set_default_device(training_device())
    model = build_model(recipe.seed)
    train_vision(model, runs, recipe.vision_steps)
    normalise_features(model.model.visual)
    train_language(model, runs, recipe.language)
    save_model(model, out)
    torch.set_default_device("cpu")  # from here on `sdrpn distill` decides
    distill_rpn(out, runs, recipe.rpn)
    print(f"wrote {out}", flush=True)


def main() -> None:
    """Trains the model that ships."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_DIR)
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"))
    parser.add_argument("--smoke", action="store_true", help="a few steps only: for tests")
    arguments = parser.parse_args()
    train(SMOKE if arguments.smoke else FULL, arguments.runs, arguments.out)


if __name__ == "__main__":
    main()
