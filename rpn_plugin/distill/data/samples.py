"""Questions about pictures, as training data: one `Sample` each, whatever file it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from rpn_plugin.images.decode import (
    PILLOW_MAX_PIXELS,
    PictureError,
    check_image,
    open_image,
)


class DataError(Exception):
    """The data cannot be used; one line says why."""


class BadRow(Exception):
    """One row cannot be used; one line says why."""


@dataclass(frozen=True)
class Sample:
    """A question about a picture.

    `row` names its place in the data ("12", or "12.1" for the second question of row 12). `source`
    is the picture's path, or returns the bytes of its file. `box`, where the data has one, is
    where the answer stands, [x0, y0, x1, y1] in pixels: it is measured against, never learnt from.
    """

    row: str
    source: Path | Callable[[], bytes]
    question: str
    answers: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def picture(self) -> Image.Image:
        """The picture's pixels as the server reads them: upright RGB. Raises BadRow."""
        with self._bad_row():
            source = self.source
            data = source.read_bytes() if isinstance(source, Path) else source()
            return open_image(data, PILLOW_MAX_PIXELS).decode()

    def check_picture(self) -> None:
        """Raises BadRow if there is no picture that can be opened, or if it has too many pixels."""
        with self._bad_row():
            if isinstance(self.source, Path):
                check_image(self.source, PILLOW_MAX_PIXELS)
            else:
                open_image(self.source(), PILLOW_MAX_PIXELS)

    @staticmethod
    @contextmanager
    def _bad_row() -> Iterator[None]:
        try:
            yield
        except (PictureError, OSError, ValueError) as error:
            raise BadRow(_one_line(error)) from error


@dataclass(frozen=True)
class RejectedRow:
    """A bad row and what is wrong with it."""

    row: str
    reason: str


def write_rejected(rejected: Sequence[RejectedRow], path: Path) -> None:
    """One JSON object a line: `row` and `reason`."""
    lines = [json.dumps({"row": r.row, "reason": r.reason}) for r in rejected]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def check_share(rejected: int, rows: int, most: float, listed_in: Path) -> None:
    """Raises DataError if more than the share `most` of `rows` is bad, or nothing is left."""
    if rejected == rows:
        raise DataError(f"none of {rows} rows can be used; reasons are in {listed_in}")
    if rejected > most * rows:
        raise DataError(
            f"{rejected} of {rows} rows are bad, more than the {most:.0%} that max_bad_share "
            f"allows; reasons are in {listed_in}"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
