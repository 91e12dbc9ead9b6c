"""What a gate is worth on the shipped model: `python -m demo.gate_study`.

Two mixes of pages that nothing else uses: `half and half`, as many with a code that is legible in
the base view as with one that is lost in it, chosen by the code's height alone; and `as they come`.
Each page is asked about from the base view and with zoom. A zoom is *needless* if the base view's
answer is right, and *needed* if only the answer with zoom is. What a gate would have answered at
any threshold follows from the two answers: its thresholds are chosen on the pages of one seed and
reported on those of another, where it is then really asked, as a third request.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openai

from demo.asking import Asking
from demo.endpoint import running_endpoint
from demo.gate_worth import (
    GATES,
    Case,
    Worth,
    area_under_curve,
    choose,
    quantiles,
    share,
    worth,
)
from demo.pages import LEGIBLE_PX, LOST_PX, Page, render_page, text_px

CHOOSING_SEED, REPORTING_SEED = 4_000_037, 4_000_079
FIXED = (0.6, 0.67, 0.75, 0.8, 0.98)


def half_and_half(seed: int, count: int) -> list[int]:
    """Pages of `seed`: `count` / 2 with a legible code and as many with a lost one, in turn."""
    found: dict[bool, list[int]] = {True: [], False: []}
    index = 0
    while min(map(len, found.values())) < count // 2:
        height = text_px(render_page(seed, index))
        if height >= LEGIBLE_PX or height < LOST_PX:
            found[height >= LEGIBLE_PX].append(index)
        index += 1
    return sorted(found[True][: count // 2] + found[False][: count // 2])


def cases_of(
    asking: Asking, seed: int, pages: Sequence[int], learned: dict[str, float] | bool
) -> list[Case]:
    """Asks about each page from the base view and with zoom; `learned` is a learned gate that never
    closes, or False.
    """

    def case(page: Page, index: int) -> Case:
        target = page.target
        base, zoom = asking.ask(page, False), asking.ask(page, {"gate": learned})
        regions = zoom.roi["regions"]
        width, height = zoom.roi["image_size"]
        boxes = [region["box"] for region in regions]
        return Case(
            index, text_px(page), base.text == target.code, zoom.text == target.code,
            peak=regions[0]["score"] if regions else 0.0,
            area=sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) / (width * height),
            said=base.probabilities,
            need=zoom.roi.get("gate_probability"),
        )  # fmt: skip

    return asking.about(seed, pages, case)


def learned_gate(asking: Asking) -> dict[str, float] | bool:
    """The endpoint's learned gate, asked and never closed; False if it has none."""
    try:
        asking.ask(render_page(CHOOSING_SEED, 0), {"gate": {"min_gate_probability": 0.0}})
    except openai.BadRequestError:
        return False
    return {"min_gate_probability": 0.0}


def confirmed(asking: Asking, seed: int, pages: Sequence[int], gate: dict[str, float]) -> float:
    """The share of right answers when the endpoint itself decides."""

    def right(page: Page, _index: int) -> bool:
        return asking.ask(page, {"gate": gate}).text == page.target.code

    return share(asking.about(seed, pages, right))


def study(asking: Asking, name: str, choosing: Sequence[int], reporting: Sequence[int]) -> Any:
    """Chooses on one seed's pages, prints and returns what comes out on the other's."""
    learned = learned_gate(asking)
    to_choose = cases_of(asking, CHOOSING_SEED, choosing, learned)
    cases = cases_of(asking, REPORTING_SEED, reporting, learned)
    print(f"\n{name}: {len(choosing)} pages to choose a threshold, {len(cases)} to report")
    needless, needed = share(c.needless for c in cases), share(c.needed for c in cases)
    print(f"zoom is needless on {needless:.1%} of them, needed on {needed:.1%}")
    _compare_seeds(to_choose, cases)
    print("gate       threshold  accuracy   zooms  needless skipped  needed skipped")
    base, always = share(c.base_right for c in cases), share(c.zoom_right for c in cases)
    print(f"never zoom            {base:8.3f} {0:7.1%} {1:17.1%} {1:15.1%}")
    print(f"always zoom           {always:8.3f} {1:7.1%} {0:17.1%} {0:15.1%}")
    chosen = []
    for gate in (g for g in GATES if g.name != "need" or learned):
        for threshold in quantiles(gate, to_choose):
            _print(worth(gate, threshold, cases), " ")
        best = worth(gate, choose(gate, to_choose), cases)
        _print(best, "*")
        asked = gate.asks(best.threshold)
        real = confirmed(asking, REPORTING_SEED, reporting, asked)
        print(f"  asked through the endpoint with gate {asked}: {real:.3f}")
        chosen.append({**asdict(best), "asked": asked, "endpoint_accuracy": real})
    return {
        "base": base, "always": always, "needless": needless, "needed": needed, "chosen": chosen,
        "choosing": [asdict(c) for c in to_choose], "cases": [asdict(c) for c in cases],
    }  # fmt: skip


def _compare_seeds(to_choose: Sequence[Case], cases: Sequence[Case]) -> None:
    """What sureness is worth on both seeds at fixed thresholds: nothing is chosen here."""
    for gate in (gate for gate in GATES if gate.name.startswith("sure")):
        for name, seen in (("pages to choose by", to_choose), ("pages reported", cases)):
            always = share(case.zoom_right for case in seen)
            rows = [worth(gate, -threshold, seen) for threshold in FIXED]
            print(
                f"{gate.name}, {name}: area under the curve {area_under_curve(gate, seen):.3f};",
                *(
                    f"at {-row.threshold:g} {100 * (row.accuracy - always):+.1f} points, "
                    f"{row.needless_skipped:.0%};"
                    for row in rows
                ),
            )


def _print(w: Worth, mark: str) -> None:
    print(
        f"{mark} {w.gate:8} {abs(w.threshold):10.4f} {w.accuracy:9.3f} {w.zooms:7.1%} "
        f"{w.needless_skipped:17.1%} {w.needed_skipped:15.1%}",
        flush=True,
    )


def main() -> None:
    """Measures gates through an endpoint that serves the shipped model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", help="a running endpoint; without it one is started and stopped")
    parser.add_argument("--count", type=int, default=400, help="pages of each mix to report on")
    parser.add_argument("--out", type=Path, default=Path("runs/gate-study"))
    arguments = parser.parse_args()
    count = arguments.count
    mixes = {
        "half and half": (half_and_half(CHOOSING_SEED, count), half_and_half(REPORTING_SEED, count))
    }
    mixes["as they come"] = (range(count), range(count))  # type: ignore[assignment]
    arguments.out.mkdir(parents=True, exist_ok=True)
    endpoint = nullcontext(arguments.url) if arguments.url else running_endpoint(arguments.out)
    with endpoint as url:
        asking = Asking(url)
        found = {name: study(asking, name, *pages) for name, pages in mixes.items()}
    (arguments.out / "gates.json").write_text(json.dumps(found, indent=1) + "\n")
    print(f"wrote {arguments.out / 'gates.json'}")


if __name__ == "__main__":
    main()
