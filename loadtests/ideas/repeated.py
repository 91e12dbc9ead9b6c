"""A question that was just asked about the same picture: with pass 1, or its regions known."""

from __future__ import annotations

from loadtests.ideas.alternating import alternate
from loadtests.ideas.asking import endpoint, page


def measure(rounds: int) -> None:
    """One request at a time; every page was asked about before the clock starts."""
    pages = [page(number) for number in range(rounds + 1)]
    with endpoint() as asked:
        first = [asked.ask(one, True) for one in pages]
        boxes = [[r["box"] for r in answer.roi["regions"]] for answer in first]
        timed = alternate(
            {
                "with pass 1": lambda n: asked.ask(pages[n], True),
                "its regions known": lambda n: asked.ask(
                    pages[n], {"boxes": boxes[n]} if boxes[n] else False
                ),
            },
            rounds,
        )
    print("\nshipped model, the same question about the same picture again")
    timed.print("with pass 1")
