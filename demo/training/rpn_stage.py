"""Stage 3: the region proposal network, made by `sdrpn distill`: labels and training.

It never sees a box. Its labels are the paper's pseudo-labels of the model's own attention, from
heads that are chosen without boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demo.pages import BASE_TOKENS, CROP_TOKENS, write_pages
from rpn_plugin.distill.distributed import join
from rpn_plugin.distill.labels.pseudo_labels import label_options, pseudo_labels
from rpn_plugin.distill.run import Run
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.network.checkpoint import load_rpn
from rpn_plugin.network.rpn import RegionProposalNetwork

RPN_SEED = 303

SETTINGS = DistillSettings(
    tap_layer=1, depth=2, base_tokens=BASE_TOKENS, crop_tokens=CROP_TOKENS,
    heads="auto", head_count=8, calibration=128, response="none",
    label_options="relative_peak", foreground=0.3, label_batch=16, shard=256,
    epochs=25, batch=64, micro_batch=64, lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.0,
    warmup=0.03, clip=1.0, validation=200, seed=0, precision="bfloat16", threshold=0.3,
    cache_states=True, checkpoint_seconds=60, workers=1,
)  # fmt: skip
"""Labels come from the attention of the question's last token alone: this model looks for the
thing there, and hardly ever while it answers. So no answer has to be generated.

The threshold is named because the rule of `sdrpn distill` chooses .2 or .3 by chance here: it has
200 held-out questions. On validation pages, every RPN that was tried answers more questions at .3.
"""


@dataclass(frozen=True)
class RpnRecipe:
    """How many pages, one question each, and how to distil from them."""

    pages: int = 2400
    settings: DistillSettings = SETTINGS

    def record(self) -> Mapping[str, Any]:
        """Everything here that decides the RPN, with the labels of a fixed map."""
        return {
            "seed": RPN_SEED,
            "pages": self.pages,
            "settings": self.settings.model_dump(mode="json", exclude_unset=True),
            "labels_of_a_fixed_map": _labels_of_a_fixed_map(self.settings),
        }


def distill_rpn(model: Path, runs: Path, recipe: RpnRecipe) -> RegionProposalNetwork:
    """Trains an RPN for the model folder `model`; resumes what a run in `runs` has done."""
    data = runs / "rpn-pages" / "pages.jsonl"
    if not data.exists():
        write_pages(RPN_SEED, recipe.pages, data.parent)
    processes = join("auto")
    run = Run(str(model), data, runs / "rpn", recipe.settings, processes)
    run.labels()
    run.train()
    processes.close()
    return load_rpn(runs / "rpn")


def _labels_of_a_fixed_map(settings: DistillSettings) -> str:
    """What `pseudo_labels` makes of a map with one peak: a character for each of 8 x 8 cells."""
    rows, cols = np.mgrid[:8, :8]
    attention = (1 / (1 + (rows - 2) ** 2 + (cols - 5) ** 2)).astype(np.float32)
    options = label_options(settings.label_options, settings.foreground)
    labels = pseudo_labels(attention, family="qwen2_5_vl", options=options).labels
    return "".join({1: "1", 0: "0"}.get(int(label), ".") for label in labels.flatten())
