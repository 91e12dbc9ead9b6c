"""How many questions are enough: RPNs from 300, 1000, 3000 and 10,000 of them, three seeds each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from demo.pages import write_pages
from demo.study.bench import STEPS, Arm, Bench

STUDY_SEED = 606
"""Pages of no other part of the demo."""

QUESTIONS = (300, 1000, 3000, 10000)
SEEDS = 3
TESTED = 500


def open_bench(folder: Path, model: Path, most: int) -> Bench:
    """Pages for arms of up to `most` questions, and TESTED more that no arm learns from."""
    pages = folder / "pages" / "pages.jsonl"
    if not pages.exists():
        write_pages(STUDY_SEED, most + TESTED, pages.parent)
    return Bench(folder, pages, model)


def arms(bench: Bench) -> Iterator[Arm]:
    """Each seed asks questions of its own and in an order of its own; with all 10,000 only the
    order differs. The last arm learns twice as long: whether the others had come to rest."""
    pool = len(bench.samples) - TESTED
    tested = tuple(range(pool, pool + TESTED))
    for count in (n for n in QUESTIONS if n <= pool):
        for seed in range(SEEDS):
            order = torch.randperm(pool, generator=torch.Generator().manual_seed(seed))
            asked = tuple(sorted(order[:count].tolist()))
            yield Arm(f"{count} questions, seed {seed}", asked, tested, seed)
    longer = f"{count} questions, seed {seed}, twice the steps"
    yield Arm(longer, asked, tested, seed, 2 * STEPS)
