"""Stage 3: the region proposal network, by `sdrpn distill` itself: labels, training, threshold.

It never sees a box: labels are pseudo-labels of the model's own attention, from heads that are
found without boxes, and the threshold is what keeps the held-out labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from demo.pages import BASE_TOKENS, write_pages
from demo.views import CROP_TOKENS
from rpn_plugin.distill.distributed import join
from rpn_plugin.distill.run import Run
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.network.checkpoint import load_rpn, save_rpn

RPN_SEED = 303

GATE_MAX_CONFIDENCE, GATE_CONFIDENCE_TOKENS = 0.67, 2
"""Chosen by `demo.gate_study`; the gate waits to be asked for."""

SETTINGS = DistillSettings(
    tap_layer=1, depth=2, base_tokens=BASE_TOKENS, crop_tokens=CROP_TOKENS, max_new_tokens=4,
    label_options="relative_peak", foreground=0.3, batch=64, micro_batch=64, label_batch=16,
    lr=1e-3, epochs=10, cache_states=True, checkpoint_seconds=60, workers=1,
)  # fmt: skip


@dataclass(frozen=True)
class RpnRecipe:
    """How many pages, one question each, and how to distil from them."""

    pages: int = 2400
    settings: DistillSettings = SETTINGS


def distill_rpn(model: Path, runs: Path, recipe: RpnRecipe) -> None:
    """Puts an RPN into the folder of `model`, as `rpn`; goes on where a run in `runs` was."""
    data = runs / "rpn-pages" / "pages.jsonl"
    if not data.exists():
        write_pages(RPN_SEED, recipe.pages, data.parent)
    processes = join("auto")
    run = Run(str(model), data, runs / "rpn", recipe.settings, processes)
    run.labels()
    run.train()
    processes.close()
    rpn = load_rpn(runs / "rpn")
    rpn.config = replace(
        rpn.config,
        gate_max_confidence=GATE_MAX_CONFIDENCE,
        gate_confidence_tokens=GATE_CONFIDENCE_TOKENS,
        gate_default=False,
    )
    save_rpn(rpn, model / "rpn")
