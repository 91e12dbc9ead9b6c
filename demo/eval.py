"""Measures the shipped model through a running endpoint: `python -m demo.eval`.

It asks about every page of a seed that training never saw in five modes: from the base view only,
with the RPN's crop, with the true box (oracle), with a random box of its size, and with the box of
another thing on the page (distractor box). The last two are controls: they show what any crop with
some code in it is worth. It prints a table and writes `eval.json` and `eval.png`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from demo.endpoint import open_endpoint
from demo.evaluation.client import DemoClient, concurrently
from demo.evaluation.eval_report import Result, draw_chart, print_table, summarise
from demo.pages import write_pages

EVAL_SEED = 1_000_003
"""Training and validation use other seeds."""

MODES = ("base", "rpn", "oracle", "random box", "distractor box")


def evaluate(url: str, folder: Path, model: str | None = None) -> list[Result]:
    """Asks the endpoint at `url` about the pages in `folder` (see demo.pages) in every mode."""
    client = DemoClient(url, model)
    rows = [json.loads(line) for line in (folder / "pages.jsonl").read_text().splitlines()]
    requests = [(row, mode, number) for mode in MODES for number, row in enumerate(rows)]

    def result(request: tuple[dict[str, Any], str, int]) -> Result:
        row, mode, number = request
        roi = _roi(row, mode, Random(f"eval {number}"), folder)
        answer = client.ask((folder / row["image"]).read_bytes(), row["question"], roi)
        cover, area = _cover(row["box"], answer.roi) if mode == "rpn" else (None, None)
        return Result(
            mode, row["kind"], row["text_px"], answer.text == row["answer"], answer.text,
            row["answer"], cover, area,
        )  # fmt: skip

    return concurrently(result, requests)


def _roi(row: dict[str, Any], mode: str, rng: Random, folder: Path) -> bool | dict[str, Any]:
    """The request's `roi` field for one mode."""
    if mode in ("base", "rpn"):
        return mode == "rpn"
    if mode == "oracle":
        return {"boxes": [row["box"]]}
    if mode == "distractor box":
        return {"boxes": [rng.choice(row["others"])]}
    with Image.open(folder / row["image"]) as image:
        page_width, page_height = image.size
    width, height = row["box"][2] - row["box"][0], row["box"][3] - row["box"][1]
    x, y = rng.randint(0, page_width - width), rng.randint(0, page_height - height)
    return {"boxes": [[x, y, x + width, y + height]]}


def _cover(box: list[int], report: dict[str, Any]) -> tuple[float, float]:
    """The share of `box` in the region, and the region's share of the page."""
    if not report["regions"]:
        return 0.0, 0.0
    x0, y0, x1, y1 = report["regions"][0]["box"]
    width = max(0.0, min(box[2], x1) - max(box[0], x0))
    height = max(0.0, min(box[3], y1) - max(box[1], y0))
    page_width, page_height = report["image_size"]
    cover = width * height / ((box[2] - box[0]) * (box[3] - box[1]))
    return cover, (x1 - x0) * (y1 - y0) / (page_width * page_height)


def main() -> None:
    """Measures base view, RPN, oracle and controls through an endpoint."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", help="a running endpoint; without it one is started and stopped")
    parser.add_argument("--model", help="name of the served model (default: the endpoint's first)")
    parser.add_argument("--seed", type=int, default=EVAL_SEED)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/demo-eval"))
    arguments = parser.parse_args()
    pages = arguments.out / "pages"
    write_pages(arguments.seed, arguments.count, pages)
    with open_endpoint(arguments.url, arguments.out) as url:
        results = evaluate(url, pages, arguments.model)
    summary = summarise(results)
    print_table(summary)
    report = {
        "seed": arguments.seed,
        "pages": arguments.count,
        "summary": asdict(summary),
        "results": [asdict(result) for result in results],
    }
    (arguments.out / "eval.json").write_text(json.dumps(report, indent=1) + "\n")
    draw_chart(summary, arguments.out / "eval.png")
    print(f"wrote {arguments.out / 'eval.json'} and {arguments.out / 'eval.png'}")


if __name__ == "__main__":
    main()
