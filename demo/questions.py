"""The words of the demo: what can be asked about a page, and what is to be answered.

Two questions are the demo's task (`code`); the other two (`where`, `what`) are asked in training
only, because naming places is what teaches the model to bind a word to a spot on the page.
"""

from __future__ import annotations

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 38),
    "orange": (250, 140, 20),
    "yellow": (246, 214, 40),
    "green": (38, 150, 60),
    "cyan": (60, 200, 215),
    "blue": (36, 72, 200),
    "purple": (128, 48, 160),
    "pink": (246, 150, 190),
}
"""Tag colours: name and sRGB."""

SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond", "ring", "arrow")
"""Shapes drawn on signs."""

PLACES = 4
"""Rows and columns of the coarse grid in which `where` and `what` name places."""


def code_question(kind: str, name: str) -> str:
    """The demo's task: `name` is a colour (kind "tags") or a shape (kind "signs")."""
    return {
        "tags": f"What is the code on the {name} tag?",
        "signs": f"What is the code by the {name}?",
    }[kind]


def where_question(kind: str, name: str) -> str:
    """Asks for the place of a thing; answered by `place_answer`."""
    return {"tags": f"Where is the {name} tag?", "signs": f"Where is the {name}?"}[kind]


def what_question(kind: str, row: int, column: int) -> str:
    """Asks which thing is at a place of the coarse grid; answered by its name."""
    place = place_answer(row, column)
    return {"tags": f"What colour is the tag at {place}?", "signs": f"What shape is at {place}?"}[
        kind
    ]


def place_answer(row: int, column: int) -> str:
    """A place of the coarse grid in words; rows and columns count from 1."""
    return f"row {row} column {column}"


def corpus() -> list[str]:
    """Every sentence of the demo, for training the tokenizer."""
    lines = [place_answer(r, c) for r in range(1, 5) for c in range(1, 5)]
    for kind, names in (("tags", tuple(COLOURS)), ("signs", SHAPES)):
        for name in names:
            lines += [name, code_question(kind, name), where_question(kind, name)]
            lines += [what_question(kind, r, c) for r in range(1, 5) for c in range(1, 5)]
    return lines
