"""What decides how good an RPN gets, tried on the shipped model: `python -m demo.distill_study`.

- `data`: 300, 1000, 3000 and 10,000 questions, three seeds each, as table and picture;
- `kinds`: pages of kinds that were never seen in training;
- `heads`, `labels`: which heads and which labels teach best.

Pages are rendered, and what they have in common is computed once and kept under --runs; a study
that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import demo.study.data
import demo.study.heads
import demo.study.unseen
from demo.architecture import MODEL_DIR

STUDIES = ("data", "kinds", "heads", "labels")


def main() -> None:
    """Runs one study and prints its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--runs", type=Path, default=Path("runs/distill-study"))
    parser.add_argument(
        "--questions", type=int, default=demo.study.heads.QUESTIONS,
        help="of heads and labels: pages besides those held out (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--untrained", action="store_true", help="of labels: labels only, no RPNs")
    parser.add_argument(
        "--rpn", type=Path, nargs="*", default=[MODEL_DIR / "rpn"],
        help="of data: RPNs to measure beside them (default: the shipped one)",
    )  # fmt: skip
    options = parser.parse_args()
    folder = options.runs / options.study
    if options.study in ("heads", "labels"):
        found = demo.study.heads.study(
            options.study, options.runs / "heads", options.questions, options.model,
            options.untrained,
        )  # fmt: skip
    elif options.study == "data":
        found = demo.study.data.study(
            demo.study.data.open_bench(folder, options.model), options.rpn
        )
    else:
        found = demo.study.unseen.study(demo.study.unseen.open_bench(folder, options.model))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{options.study}.md").write_text(found, encoding="utf-8")
    print(found, end="")


if __name__ == "__main__":
    main()
