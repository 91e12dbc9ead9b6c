"""Measures gates on the shipped model: `python -m demo.gate_study`.

Each page is asked about from the base view and with zoom. A zoom is *needless* if the base view's
answer is right, and *needed* if only the answer with zoom is. What a gate would answer at any
threshold follows from the two answers. Its threshold is chosen on the pages of two seeds and
reported on those of a third, which are then asked about with that gate as well. (Chosen on one seed
of 400 pages, it lost one point there and four on another.)

There are two mixes of pages, of seeds that nothing else uses: `half and half`, half with a target
that is legible in the base view and half with one that is lost in it; and `as they come`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openai

from demo.endpoint import open_endpoint
from demo.evaluation.client import DemoClient, concurrently, png_of
from demo.evaluation.gate_outcomes import (
    CONFIDENCE_GATES,
    GATES,
    LEARNED,
    Case,
    Gate,
    GateOutcome,
    area_under_curve,
    best_threshold,
    outcome,
    quantiles,
    share,
)
from demo.pages import LEGIBLE_PX, LOST_PX, render_page, text_px

CHOOSING_SEEDS, REPORTING_SEED = (4_000_037, 4_000_079), 4_000_121
FIXED_CONFIDENCES = (0.6, 0.67, 0.75, 0.8, 0.98)


def half_and_half(seed: int, count: int) -> list[int]:
    """Pages of `seed`, in order: `count` / 2 with a legible target and as many with a lost one."""
    legible: list[int] = []
    lost: list[int] = []
    index = 0
    while min(len(legible), len(lost)) < count // 2:
        height = text_px(render_page(seed, index))
        if height >= LEGIBLE_PX:
            legible.append(index)
        elif height < LOST_PX:
            lost.append(index)
        index += 1
    return sorted(legible[: count // 2] + lost[: count // 2])


def as_they_come(_seed: int, count: int) -> Sequence[int]:
    """The first `count` pages of any seed."""
    return range(count)


MIXES: dict[str, Callable[[int, int], Sequence[int]]] = {
    "half and half": half_and_half,
    "as they come": as_they_come,
}


def cases_of(
    client: DemoClient, seed: int, pages: Sequence[int], gate: dict[str, float] | bool
) -> list[Case]:
    """Asks about each page from the base view and with zoom; `gate` is a learned gate that never
    skips a zoom, or False."""

    def case(index: int) -> Case:
        page = render_page(seed, index)
        png = png_of(page)
        base = client.ask(png, page.question, False)
        zoom = client.ask(png, page.question, {"gate": gate})
        regions = zoom.roi["regions"]
        width, height = zoom.roi["image_size"]
        boxes = [region["box"] for region in regions]
        return Case(
            index, text_px(page), base.text == page.target.code, zoom.text == page.target.code,
            peak=regions[0]["score"] if regions else 0.0,
            area=sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) / (width * height),
            probabilities=base.probabilities,
            gate_probability=zoom.roi.get("gate_probability"),
        )  # fmt: skip

    return concurrently(case, pages)


def learned_gate(client: DemoClient) -> dict[str, float] | bool:
    """The endpoint's learned gate, at a threshold that skips nothing; False if it has none."""
    gate = {"min_gate_probability": 0.0}
    page = render_page(REPORTING_SEED, 0)
    try:
        client.ask(png_of(page), page.question, {"gate": gate})
    except openai.BadRequestError:
        return False
    return gate


def accuracy_with(
    client: DemoClient, seed: int, pages: Sequence[int], gate: dict[str, float]
) -> float:
    """The share of right answers when the endpoint itself applies the gate."""

    def is_right(index: int) -> bool:
        page = render_page(seed, index)
        return client.ask(png_of(page), page.question, {"gate": gate}).text == page.target.code

    return share(concurrently(is_right, pages))


def study(client: DemoClient, name: str, count: int) -> Any:
    """Chooses thresholds on `count` pages of each choosing seed, and prints and returns the
    outcomes on `count` pages of the reporting seed."""
    pages_of, learned = MIXES[name], learned_gate(client)
    by_seed = {
        seed: cases_of(client, seed, pages_of(seed, count), learned)
        for seed in (*CHOOSING_SEEDS, REPORTING_SEED)
    }
    cases = by_seed[REPORTING_SEED]
    to_choose = [case for seed in CHOOSING_SEEDS for case in by_seed[seed]]
    print(f"\n{name}: {len(to_choose)} pages to choose a threshold, {len(cases)} to report")
    needless, needed = share(c.needless for c in cases), share(c.needed for c in cases)
    print(f"zoom is needless on {needless:.1%} of them, needed on {needed:.1%}")
    _compare_seeds(by_seed)
    base, always = share(c.base_right for c in cases), share(c.zoom_right for c in cases)
    print("gate            threshold  accuracy   zooms  needless skipped  needed skipped")
    print(f"never zoom                 {base:8.3f} {0:7.1%} {1:17.1%} {1:15.1%}")
    print(f"always zoom                {always:8.3f} {1:7.1%} {0:17.1%} {0:15.1%}")
    return {
        "base": base, "always": always, "needless": needless, "needed": needed,
        "chosen": [
            _report(client, gate, to_choose, cases)
            for gate in GATES
            if gate.name != LEARNED or learned
        ],
        "choosing": [asdict(c) for c in to_choose], "cases": [asdict(c) for c in cases],
    }  # fmt: skip


def _report(
    client: DemoClient,
    gate: Gate,
    to_choose: Sequence[Case],
    cases: Sequence[Case],
) -> dict[str, Any]:
    """One gate at nine thresholds and at the chosen one, which the endpoint confirms."""
    for threshold in quantiles(gate, to_choose):
        _print(outcome(gate, threshold, cases), " ")
    best = outcome(gate, best_threshold(gate, to_choose), cases)
    _print(best, "*")
    request = gate.request(best.threshold)
    accuracy = accuracy_with(client, REPORTING_SEED, [case.page for case in cases], request)
    print(f"  through the endpoint with gate {request}: {accuracy:.3f}")
    return {**asdict(best), "request": request, "endpoint_accuracy": accuracy}


def _compare_seeds(by_seed: Mapping[int, Sequence[Case]]) -> None:
    """Gates by confidence on every seed at fixed thresholds, where nothing is chosen."""
    for gate in CONFIDENCE_GATES:
        for seed, cases in by_seed.items():
            always = share(case.zoom_right for case in cases)
            outcomes = [outcome(gate, -limit, cases) for limit in FIXED_CONFIDENCES]
            print(
                f"{gate.name}, seed {seed}: area under the curve "
                f"{area_under_curve(gate, cases):.3f};",
                *(
                    f"at {-o.threshold:g} {100 * (o.accuracy - always):+.1f} points, "
                    f"{o.needless_skipped:.0%};"
                    for o in outcomes
                ),
            )


def _print(result: GateOutcome, mark: str) -> None:
    print(
        f"{mark} {result.gate:13} {abs(result.threshold):10.4f} {result.accuracy:9.3f} "
        f"{result.zooms:7.1%} {result.needless_skipped:17.1%} {result.needed_skipped:15.1%}",
        flush=True,
    )


def main() -> None:
    """Measures gates through an endpoint that serves the shipped model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", help="a running endpoint; without it one is started and stopped")
    parser.add_argument("--count", type=int, default=400, help="pages of each mix and seed")
    parser.add_argument("--out", type=Path, default=Path("runs/gate-study"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with open_endpoint(arguments.url, arguments.out) as url:
        client = DemoClient(url)
        results = {name: study(client, name, arguments.count) for name in MIXES}
    (arguments.out / "gates.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"wrote {arguments.out / 'gates.json'}")


if __name__ == "__main__":
    main()
