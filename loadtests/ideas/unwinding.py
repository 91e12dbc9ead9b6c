"""Where the time goes between pass 1's last step in the engine and pass 2's first.

The crop can be encoded no sooner than the RoI map is there. What lies between is the way of the map
out of the engine, boxes and crop, the crop's processing, and the way in. Only the first and the
last could be saved, by cutting and processing the crop inside the engine. All clocks are one
machine's monotonic one.
"""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import astuple, dataclass

from demo.eval import EVAL_SEED
from demo.pages import render_page
from demo.questions import code_question
from loadtests.ideas.engines import Ask, Engine, engines
from rpn_plugin.checkpoint import load_rpn_config
from rpn_plugin.messages import decode_result
from rpn_plugin.roi import regions_from_map
from server.launch import SHIPPED_MODEL
from server.pictures import Picture
from server.viewing import base_view, crop_view


@dataclass(frozen=True)
class _Times:
    """Milliseconds."""

    pass_1: float
    out: float
    boxes_and_crop: float
    process_and_in: float
    pass_2: float


def measure(rounds: int) -> None:
    """Pages of the demo, one at a time, each new."""
    with engines(SHIPPED_MODEL, {"sdrpn": {"disable_log_stats": False}}) as running:
        times = [_follow(running["sdrpn"], number) for number in range(rounds + 3)][3:]
    print(f"\nshipped model, {len(times)} new pages one at a time, medians of milliseconds")
    names = "pass 1", "map out of the engine", "boxes and crop", "crop processed, into the engine"
    medians = [statistics.median(values) for values in zip(*map(astuple, times), strict=True)]
    for name, value in zip((*names, "pass 2 to its first token"), medians, strict=True):
        print(f"{name:32} {value:7.2f}  {value / sum(medians):.1%}")


def _follow(engine: Engine, number: int) -> _Times:
    config = load_rpn_config(SHIPPED_MODEL / "rpn")
    page = render_page(EVAL_SEED, number)
    asked = page.things[page.asked]
    question = code_question(page.kind, asked.name)
    picture = Picture(page.image, f"page-{number}")
    base = base_view(picture, config.base_tokens)
    view = (base.image, base.uuid)

    started = time.monotonic()
    (first,) = engine.ask(Ask([view], question, roi=True))
    there = time.monotonic()
    roi = decode_result(first.kv_transfer_params)
    regions = regions_from_map(
        roi.logits, page.image.size, threshold=config.threshold, max_regions=1
    )
    box = regions[0].box if regions else (0.0, 0.0, 100.0, 100.0)
    crop = crop_view(picture, box, config.crop_tokens)
    cut = time.monotonic()
    (second,) = engine.ask(Ask([view, (crop.image, crop.uuid)], question))
    assert first.metrics is not None
    assert second.metrics is not None
    moments = (
        *(started, first.metrics.last_token_ts, there, cut),
        *(second.metrics.scheduled_ts, second.metrics.first_token_ts),
    )
    spans = [(b - a) * 1e3 for a, b in itertools.pairwise(moments)]
    return _Times(*spans)
