"""What decides how good an RPN gets, tried on the shipped model: `python -m demo.distill_study`.

- `data`: 300, 1000, 3000 and 10,000 questions, three seeds each, as table and picture;
- `kinds`: pages of kinds that were never seen in training;
- `heads`, `labels`: which heads and which labels teach best.

Pages are rendered, and what they have in common is computed once and kept under --runs; a study
that was ended goes on where it was. `data` and `kinds` count right answers too, which an endpoint
with the shipped model gives (without --url one is started and stopped): it gets each RPN's regions
with the questions, so its own RPN has no part in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import demo.study.data
import demo.study.heads
import demo.study.unseen
from demo.architecture import MODEL_DIR
from demo.endpoint import running_endpoint

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
    parser.add_argument("--url", help="of data and kinds: a running endpoint")
    parser.add_argument("--unasked", action="store_true", help="of data and kinds: cover alone")
    options = parser.parse_args()
    folder = options.runs / options.study
    if options.study in ("heads", "labels"):
        found = demo.study.heads.study(
            options.study, options.runs / "heads", options.questions, options.model,
            options.untrained,
        )  # fmt: skip
    elif options.study == "data":
        bench = demo.study.data.open_bench(folder, options.model)
        with _endpoint(options, folder) as url:
            found = demo.study.data.study(bench, url, options.rpn)
    else:
        bench = demo.study.unseen.open_bench(folder, options.model)
        with _endpoint(options, folder) as url:
            found = demo.study.unseen.study(bench, url)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{options.study}.md").write_text(found, encoding="utf-8")
    print(found, end="")


@contextmanager
def _endpoint(options: argparse.Namespace, folder: Path) -> Iterator[str | None]:
    if options.unasked or options.url:
        yield None if options.unasked else options.url.rstrip("/")
        return
    with running_endpoint(folder) as url:
        yield url


if __name__ == "__main__":
    main()
