"""Measures the small LLaVA through a running endpoint: `python -m demo.llava.eval --url URL`.

As `demo.eval`, on pages of its own kind. "Lost" and "legible" are the twins' codes; the squares are
half a pixel to a pixel, and two and a half to four, in the base view.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from demo.eval import EVAL_SEED, evaluate
from demo.eval_report import print_table, summarise
from demo.llava.pages import write_pages


def main() -> None:
    """Measures base view, RPN, oracle and controls through an endpoint that runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/llava-eval"))
    arguments = parser.parse_args()
    write_pages(EVAL_SEED, arguments.count, arguments.out / "pages")
    results = evaluate(arguments.url, arguments.out / "pages")
    summary = summarise(results)
    print_table(summary)
    report = {"summary": asdict(summary), "results": [asdict(result) for result in results]}
    (arguments.out / "eval.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
