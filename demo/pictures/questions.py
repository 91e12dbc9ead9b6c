"""The questions of the demo and their answers.

`code_question` is the demo's task. `where_question` and `what_question` are used in training only:
naming places teaches the model to bind a word to a spot on the page.
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
"""Colours that tell things apart: name and sRGB."""

PLACES = 4
"""Rows and columns of the coarse grid in which `where` and `what` name places."""


def code_question(kind: str, colour: str) -> str:
    """The demo's task: `colour` is that of a tag (kind "tags") or a circle (kind "signs")."""
    return {
        "tags": f"What is the code on the {colour} tag?",
        "signs": f"What is the code by the {colour} circle?",
    }[kind]


def where_question(kind: str, colour: str) -> str:
    """Asks for the place of a thing; answered by `place_answer`."""
    thing = {"tags": "tag", "signs": "circle"}[kind]
    return f"Where is the {colour} {thing}?"


def what_question(kind: str, row: int, column: int) -> str:
    """Asks which thing is at a place of the coarse grid; answered by its colour."""
    thing = {"tags": "tag", "signs": "circle"}[kind]
    return f"What colour is the {thing} at row {row} column {column}?"


def place_answer(row: int, column: int) -> str:
    """A place of the coarse grid; rows and columns count from 1.

    The answer begins with the number itself, so the question's last token has to find the thing.
    """
    return f"{row},{column}"
