"""Trains the small LLaVA, base model only: `python -m demo.llava.train --out FOLDER`.

Two stages, each resumable as in `demo.train`. Its RPN is made by `sdrpn distill`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from demo.architecture import MODEL_DIR
from demo.device import training_device
from demo.llava.architecture import build_model, save_model
from demo.llava.language_stage import LanguageRecipe, begin_as, train_language
from demo.llava.vision_stage import train_vision


def train(vision_steps: int, language: LanguageRecipe, runs: Path, out: Path) -> None:
    """Runs what is left of both stages and writes the model folder to `out`."""
    torch.set_default_device(training_device())
    shipped = Qwen2_5_VLForConditionalGeneration.from_pretrained(MODEL_DIR, dtype=torch.float32)
    shipped.requires_grad_(False)
    model = build_model(0)
    train_vision(model, shipped, runs, vision_steps)
    begin_as(shipped, model)
    train_language(model, runs, language)
    save_model(model, out)
    print(f"wrote {out}", flush=True)


def main() -> None:
    """Trains it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/llava"))
    parser.add_argument("--vision-steps", type=int, default=3000)
    parser.add_argument("--language-steps", type=int, default=LanguageRecipe.steps)
    options = parser.parse_args()
    recipe = LanguageRecipe(steps=options.language_steps)
    train(options.vision_steps, recipe, options.runs, options.out)


if __name__ == "__main__":
    main()
