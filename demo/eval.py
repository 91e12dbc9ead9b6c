"""Measures the shipped model through the running endpoint: `python -m demo.eval`.

Every page of a seed that training never saw is asked about five times: base view only, with the
RPN's crop, with the true box (oracle), with a random box of its size, and with the box of another
thing on the page. The last two are controls: part of any gain is just "a crop with some code in
it". Prints a table, writes `eval.json` and `eval.png`.
"""

from __future__ import annotations

import argparse
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import openai
from PIL import Image

from demo.endpoint import running_endpoint
from demo.eval_report import draw_chart, print_table, summarise
from demo.pages import write_pages

EVAL_SEED = 1_000_003
"""Training and validation use other seeds."""

MODES = ("base", "rpn", "oracle", "random box", "other thing")


@dataclass(frozen=True)
class Result:
    """One answer. `text_px`: height of the code in the base view; `cover`: share of the true box
    that the region holds (rpn only), `area`: the region's share of the page."""

    mode: str
    kind: str
    text_px: float
    right: bool
    answer: str
    expected: str
    cover: float | None = None
    area: float | None = None


def evaluate(url: str, folder: Path, model: str | None = None) -> list[Result]:
    """Asks the endpoint at `url` about the pages in `folder` (see demo.pages)."""
    client = openai.OpenAI(base_url=f"{url.rstrip('/')}/v1", api_key="none", timeout=300)
    name = model or client.models.list().data[0].id
    rows = [json.loads(line) for line in (folder / "pages.jsonl").read_text().splitlines()]
    asks = [
        (folder, row, mode, _roi(row, mode, Random(f"eval {number}"), folder))
        for mode in MODES
        for number, row in enumerate(rows)
    ]
    results = []
    with ThreadPoolExecutor(8) as threads:
        for result in threads.map(lambda ask: _ask(client, name, *ask), asks):
            results.append(result)
            if len(results) % 100 == 0:
                print(f"{len(results)}/{len(asks)} answers", flush=True)
    return results


def _roi(row: dict[str, Any], mode: str, rng: Random, folder: Path) -> bool | dict[str, Any]:
    """The request's `roi` field for one mode."""
    if mode in ("base", "rpn"):
        return mode == "rpn"
    if mode == "oracle":
        return {"boxes": [row["box"]]}
    if mode == "other thing":
        return {"boxes": [rng.choice(row["others"])]}
    with Image.open(folder / row["image"]) as image:
        page_width, page_height = image.size
    width, height = row["box"][2] - row["box"][0], row["box"][3] - row["box"][1]
    x, y = rng.randint(0, page_width - width), rng.randint(0, page_height - height)
    return {"boxes": [[x, y, x + width, y + height]]}


def _ask(
    client: openai.OpenAI,
    model: str,
    folder: Path,
    row: dict[str, Any],
    mode: str,
    roi: bool | dict[str, Any],
) -> Result:
    picture = base64.b64encode((folder / row["image"]).read_bytes()).decode()
    response = client.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "image_url",
                        "image_url": {"url": f"data:image/png;base64,{picture}"},
                    },
                    {"type": "text", "text": row["question"]},
                ],
            }
        ],
        temperature=0,
        max_tokens=8,
        extra_body={"roi": roi},
    )
    answer = (response.choices[0].message.content or "").strip()
    report = (response.model_extra or {})["roi"]
    cover, area = _cover(row["box"], report) if mode == "rpn" else (None, None)
    right = answer == row["answer"]
    return Result(mode, row["kind"], row["text_px"], right, answer, row["answer"], cover, area)


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
    endpoint = nullcontext(arguments.url) if arguments.url else running_endpoint(arguments.out)
    with endpoint as url:
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
