"""Chooses the pages that ship with the playground: `python -m demo.playground_pages`.

Of the pages of a seed of their own, those that show what sdrpn is for with room to spare: the code
asked for is lost in the base view and answered wrong from it, and answered right with zoom; right
also at a stricter and a laxer threshold and from the true box, and the region covers the whole
thing. Of those with sure answers (by the least probability of any token), the fullest pages. The
asked colours all differ. To be run again when the shipped weights change; tests/playground checks
that the pages still hold what they promise.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import openai

from demo.endpoint import running_endpoint
from demo.pages import KINDS, LOST_PX, Page, render_page, text_px
from demo.questions import code_question

SEED = 3_000_017
CANDIDATES = 120
PAGES = 4
FOLDER = Path(__file__).resolve().parents[1] / "server" / "playground" / "static" / "pages"
SURE = 0.99
STRICTER, LAXER = 0.45, 0.15
"""Thresholds either side of the RPN's own, 0.3."""


@dataclass(frozen=True)
class Candidate:
    """A page worth showing; `sureness` is the least probability of an answer's token with zoom."""

    page: Page
    png: bytes
    question: str
    sureness: float


def candidates(url: str, seed: int, count: int) -> Iterator[Candidate]:
    """Of `count` pages of `seed`, those that the endpoint at `url` answers as described above."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=300)
    model = client.models.list().data[0].id
    for index in range(count):
        page = render_page(seed, index)
        if text_px(page) >= LOST_PX:
            continue
        target = page.target
        question = code_question(page.kind, target.name)
        png = _png(page)

        def answer(roi: Any, png: bytes = png, question: str = question) -> Any:
            return _ask(client, model, png, question, roi)

        if _said(answer(False)) == target.code:
            continue
        zoomed = answer(True)
        others = [{"threshold": STRICTER}, {"threshold": LAXER}, {"boxes": [list(target.box)]}]
        if any(_said(a) != target.code for a in [zoomed, *map(answer, others)]):
            continue
        if _covers(zoomed.roi["regions"], target.box) and _sureness(zoomed) >= SURE:
            yield Candidate(page, png, question, _sureness(zoomed))


def choose(found: list[Candidate], pages: int) -> list[Candidate]:
    """The fullest `pages` candidates, each kind of page in turn, no colour asked for twice."""
    ranked = sorted(found, key=lambda candidate: (-len(candidate.page.things), -candidate.sureness))
    chosen: list[Candidate] = []
    colours: set[str] = set()
    for turn in range(pages):
        for candidate in ranked:
            page = candidate.page
            colour = page.target.name
            if page.kind == KINDS[turn % len(KINDS)] and colour not in colours:
                chosen.append(candidate)
                colours.add(colour)
                break
    return chosen


def write(chosen: list[Candidate], folder: Path) -> None:
    """Writes the pages and `pages.json`, which the playground reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    rows = []
    for candidate in chosen:
        page = candidate.page
        target = page.target
        name = f"{target.name}-{page.kind.removesuffix('s')}"
        (folder / f"{name}.png").write_bytes(candidate.png)
        title = f"A page with {len(page.things)} {page.kind}"
        row = {"id": name, "title": title, "question": candidate.question, "answer": target.code}
        rows.append(row)
    (folder / "pages.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _png(page: Page) -> bytes:
    file = BytesIO()
    page.image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _ask(client: openai.OpenAI, model: str, png: bytes, question: str, roi: Any) -> Any:
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return client.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": url}},
                    {"type": "text", "text": question},
                ],
            }
        ],
        temperature=0,
        max_completion_tokens=8,
        logprobs=True,
        extra_body={"roi": roi},
    )


def _said(answer: Any) -> str:
    return str(answer.choices[0].message.content or "").strip()


def _sureness(answer: Any) -> float:
    return min(math.exp(token.logprob) for token in answer.choices[0].logprobs.content)


def _covers(regions: list[dict[str, Any]], box: tuple[int, int, int, int]) -> bool:
    if not regions:
        return False
    x0, y0, x1, y1 = regions[0]["box"]
    return bool(x0 <= box[0] and y0 <= box[1] and x1 >= box[2] and y1 >= box[3])


def main() -> None:
    """Chooses the playground's pages with the shipped model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", help="a running endpoint; without it one is started and stopped")
    arguments = parser.parse_args()
    endpoint = (
        nullcontext(arguments.url)
        if arguments.url
        else running_endpoint(Path("runs/playground-pages"))
    )
    with endpoint as url:
        found = list(candidates(url.rstrip("/"), SEED, CANDIDATES))
    chosen = choose(found, PAGES)
    print(f"{len(found)} of {CANDIDATES} pages would do; {len(chosen)} chosen:")
    for candidate in chosen:
        print(f"{candidate.question}  surest to {candidate.sureness:.3f}, {len(candidate.png)} B")
    write(chosen, FOLDER)


if __name__ == "__main__":
    main()
