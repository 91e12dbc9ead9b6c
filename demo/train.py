"""Trains the shipped model from nothing: `python -m demo.train`.

Three stages: the vision tower on dense labels, the language model on questions, then the RPN by
`sdrpn distill`. A run that was killed resumes from its last checkpoint; checkpoints and logs are in
`--runs`. At the end it writes `recipe.json`, the record of the recipe and of the files.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from demo.architecture import MODEL_DIR, build_model, save_model
from demo.recipe import (
    OtherRecipe,
    StageRecipe,
    claim,
    recorded_stages,
    stage_recipe,
    write_record,
)
from demo.training.device import training_device
from demo.training.language_stage import LanguageRecipe, train_language
from demo.training.rpn_stage import SETTINGS, RpnRecipe, distill_rpn
from demo.training.vision_stage import normalise_features, train_vision
from rpn_plugin.network.checkpoint import save_rpn

GATE_MAX_CONFIDENCE, GATE_CONFIDENCE_TOKENS = 0.71, 2
"""The gate of the shipped RPN, chosen by `demo.gate_study`; no weight depends on it. Requests use
it only if they ask for it."""


@dataclass(frozen=True)
class Recipe:
    """How long to train each stage, and on how much."""

    seed: int = 0
    vision_steps: int = 6800
    language: LanguageRecipe = field(default_factory=LanguageRecipe)
    rpn: RpnRecipe = field(default_factory=RpnRecipe)

    def stages(self) -> Mapping[str, StageRecipe]:
        """The recipe of each stage, in order."""
        vision_settings = {"seed": self.seed, "steps": self.vision_steps}
        vision = stage_recipe("demo.training.vision_stage", vision_settings)
        language = stage_recipe("demo.training.language_stage", asdict(self.language), vision)
        rpn = stage_recipe("demo.pages", self.rpn.record(), language)
        return {"vision": vision, "language": language, "rpn": rpn}


FULL = Recipe()
SMOKE = Recipe(
    vision_steps=2,
    language=LanguageRecipe(steps=2, steps_per_shard=2, shard_pages=16, held_out_pages=8),
    # The maps of an untrained model are flat, so the highest cells have to do as labels.
    rpn=RpnRecipe(
        16, SETTINGS.model_copy(update={"label_options": "", "foreground": 0.95, "epochs": 1})
    ),
)
"""Takes seconds instead of an hour, for tests: every stage runs, but the model learns nothing."""


def train(recipe: Recipe, runs: Path, out: Path) -> None:
    """Runs the stages that `runs` has not finished and writes the model folder `out`.

    Raises OtherRecipe if `runs` has checkpoints of another recipe.
    """
    stages = recipe.stages()
    torch.set_default_device(training_device())
    model = build_model(recipe.seed)
    claim(runs, "vision", stages["vision"])
    train_vision(model, runs, recipe.vision_steps)
    normalise_features(model.model.visual)
    claim(runs, "language", stages["language"])
    train_language(model, runs, recipe.language)
    save_model(model, out)
    torch.set_default_device("cpu")  # `sdrpn distill` chooses its device itself
    _train_rpn(recipe, stages, runs, out)


def train_rpn(recipe: Recipe, runs: Path, out: Path) -> None:
    """Runs the third stage for the model in `out`.

    Raises OtherRecipe if that model is not what the first two stages of the recipe make.
    """
    stages, recorded = recipe.stages(), recorded_stages(out)
    for name in ("vision", "language"):
        if recorded[name] != stages[name].sha256:
            raise OtherRecipe(f"{out} was made by another {name} stage: train without --rpn-only")
    _train_rpn(recipe, stages, runs, out)


def _train_rpn(recipe: Recipe, stages: Mapping[str, StageRecipe], runs: Path, out: Path) -> None:
    claim(runs, "rpn", stages["rpn"])
    rpn = distill_rpn(out, runs, recipe.rpn)
    rpn.config = replace(
        rpn.config,
        gate_max_confidence=GATE_MAX_CONFIDENCE,
        gate_confidence_tokens=GATE_CONFIDENCE_TOKENS,
        gate_default=False,
    )
    save_rpn(rpn, out / "rpn")
    write_record(out, stages)
    print(f"wrote {out}", flush=True)


def main() -> None:
    """Trains the shipped model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_DIR)
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"))
    parser.add_argument("--rpn-only", action="store_true", help="train only the RPN of --out")
    parser.add_argument("--smoke", action="store_true", help="a few steps only: for tests")
    arguments = parser.parse_args()
    run = train_rpn if arguments.rpn_only else train
    try:
        run(SMOKE if arguments.smoke else FULL, arguments.runs, arguments.out)
    except OtherRecipe as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
