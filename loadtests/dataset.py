"""`python -m loadtests.dataset --out FOLDER`: pages and questions for standard benchmark tools.

Writes pictures, and a JSON-lines file for each tool: `vllm.jsonl` for `vllm bench serve`,
`guidellm.jsonl` and `aiperf.jsonl`. docs/load-testing.md has the commands that read them.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtests.pages import A4, SIZES, Format, Pages

_FORMATS: tuple[Format, ...] = ("PNG", "JPEG")
"""What every tool sends; AIPerf refuses WebP."""


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the files of one dataset."""
    options = _parser().parse_args(argv)
    sizes = SIZES if options.mixed_sizes else (A4,)
    questions = list(write_pages(options.out, options.pages, sizes, options.questions))
    write_questions(options.out, questions)
    print(f"wrote {options.pages} pages and {len(questions)} questions to {options.out}")


def write_pages(
    folder: Path, count: int, sizes: Sequence[tuple[int, int]], questions: int
) -> Iterator[tuple[str, str]]:
    """Writes `count` different pages of `sizes` in turn; yields each question with its picture.

    A page gets its own question first, then others, `questions` in all.
    """
    pictures = folder.resolve() / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    source = Pages()
    shapes = itertools.islice(itertools.cycle(itertools.product(sizes, _FORMATS)), count)
    for number, (size, format) in enumerate(shapes):
        page = source.next(size, format)
        picture = pictures / f"{number:05}.{format.lower()}"
        picture.write_bytes(page.data)
        yield page.question, str(picture)
        for line in range(1, questions):
            yield f"What is written in line {line}?", str(picture)


def write_questions(folder: Path, questions: Sequence[tuple[str, str]]) -> None:
    """Writes (question, picture) pairs in the format of each tool."""
    rows: dict[str, list[dict[str, str | list[str]]]] = {
        "vllm": [{"prompt": text, "image_files": [picture]} for text, picture in questions],
        "guidellm": [{"prompt": text, "image": picture} for text, picture in questions],
        "aiperf": [{"text": text, "image": picture} for text, picture in questions],
    }
    for tool, lines in rows.items():
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (folder / f"{tool}.jsonl").write_text(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m loadtests.dataset", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/pages"), metavar="FOLDER")
    add("--pages", type=int, default=200, help="default: %(default)s")
    add("--questions", type=int, default=1, help="about each page; default: %(default)s")
    add("--mixed-sizes", action="store_true", help="thumbnails to scans; default: A4 at 100 dpi")
    return parser


if __name__ == "__main__":
    main()
