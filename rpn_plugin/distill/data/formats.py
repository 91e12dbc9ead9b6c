"""Readers of training data: JSONL, LLaVA conversations, and `datasets` folders on disk.

A bad row is set aside with its reason and the rest goes on; how many may be bad is the caller's
decision. Pictures are only opened here, not decoded, so that large data is read in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rpn_plugin.distill.data.samples import BadRow, DataError, RejectedRow, Sample


def read_samples(
    data: Path, images: Path | None = None, split: str = "train"
) -> tuple[list[Sample], list[RejectedRow], int]:
    """The samples of `data`, its bad rows, and how many rows there are of either.

    `data` is a .jsonl file of `image`, `question` and, if known, `answers` and `box`; a .json file
    of LLaVA conversations; or a folder written by `datasets`' save_to_disk, of either kind of row.
    `images` is where relative paths start from, by default the file's folder. Raises DataError.
    """
    samples: list[Sample] = []
    rejected: list[RejectedRow] = []
    count = 0
    folder = images or (data if data.is_dir() else data.parent)
    for number, row in _rows(data, split):
        try:
            found = list(_samples_of(str(number), row, folder))
            found[0].check_picture()
            samples += found
            count += len(found)
        except BadRow as error:
            rejected.append(RejectedRow(str(number), str(error)))
            count += 1
    if not count:
        raise DataError(f"{data} has no rows")
    return samples, rejected, count


def _rows(data: Path, split: str) -> Iterable[tuple[int, Any]]:
    if data.is_dir():
        return enumerate(_dataset_rows(data, split))
    if not data.is_file():
        raise DataError(f"{data} does not exist")
    if data.suffix == ".jsonl":
        return _jsonl_rows(data)
    if data.suffix == ".json":
        return enumerate(_json_rows(data))
    raise DataError(f"{data}: data is a .jsonl or .json file, or a folder of `datasets`")


def _jsonl_rows(data: Path) -> Iterator[tuple[int, Any]]:
    """Lines counted from 1, as editors do; a line that is no JSON is its own error."""
    with data.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    yield number, error


def _json_rows(data: Path) -> list[Any]:
    try:
        rows = json.loads(data.read_bytes())
    except ValueError as error:
        raise DataError(f"{data} is no JSON: {error}") from error
    if not isinstance(rows, list):
        raise DataError(f"{data} does not hold a list of conversations")
    return rows


def _dataset_rows(data: Path, split: str) -> Iterator[Any]:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(data))
    except (OSError, ValueError) as error:
        raise DataError(f"{data} is no folder of `datasets`: {error}") from error
    if isinstance(loaded, datasets.DatasetDict):
        if split not in loaded:
            raise DataError(f"{data} has no split {split!r}, only {sorted(loaded)}")
        loaded = loaded[split]
    pictures = [n for n, feature in loaded.features.items() if isinstance(feature, datasets.Image)]
    for name in pictures:
        loaded = loaded.cast_column(name, datasets.Image(decode=False))
    # Rows keep a way to their picture instead of its bytes: data may be larger than memory.
    slim = loaded.remove_columns(pictures)
    for number, row in enumerate(slim):
        yield {**row, **{name: _cell_reader(loaded, number, name) for name in pictures}}


def _cell_reader(dataset: Any, number: int, column: str) -> Callable[[], bytes]:
    def read() -> bytes:
        cell = dataset[number][column] or {}
        if cell.get("bytes"):
            return bytes(cell["bytes"])
        if cell.get("path"):
            return Path(cell["path"]).read_bytes()
        raise ValueError("the row has no picture")

    return read


def _samples_of(number: str, row: Any, folder: Path) -> Iterator[Sample]:
    """The questions of one row. Raises BadRow."""
    if isinstance(row, ValueError):
        raise BadRow(f"no JSON: {row}")
    if not isinstance(row, Mapping):
        raise BadRow("not an object")
    source = _source(row.get("image"), folder)
    turns = row.get("conversations")
    if turns is None:
        yield Sample(number, source, _question(row), _answers(row), _box(row.get("box")))
        return
    pairs = list(_pairs(turns))
    for place, (question, answer) in enumerate(pairs):
        name = f"{number}.{place}" if len(pairs) > 1 else number
        yield Sample(name, source, question, (answer,) if answer else ())


def _source(image: Any, folder: Path) -> Path | Callable[[], bytes]:
    if isinstance(image, list):
        if len(image) != 1:
            raise BadRow(f"has {len(image)} pictures, one is needed")
        image = image[0]
    if callable(image):
        reader: Callable[[], bytes] = image
        return reader
    if not isinstance(image, str) or not image:
        raise BadRow("has no `image`")
    return folder / image


def _question(row: Mapping[str, Any]) -> str:
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise BadRow("has no `question`")
    return question.strip()


def _answers(row: Mapping[str, Any]) -> tuple[str, ...]:
    given = row.get("answers", row.get("answer"))
    if given is None:
        return ()
    return tuple(str(a) for a in given) if isinstance(given, list) else (str(given),)


def _box(box: Any) -> tuple[float, float, float, float] | None:
    if box is None:
        return None
    try:
        x0, y0, x1, y1 = (float(corner) for corner in box)
    except (TypeError, ValueError):
        raise BadRow("`box` is not [x0, y0, x1, y1]") from None
    if not (x0 < x1 and y0 < y1):
        raise BadRow("`box` has no area")
    return x0, y0, x1, y1


def _pairs(turns: Any) -> Iterator[tuple[str, str]]:
    """Questions and answers of a LLaVA conversation; `<image>` only marks the picture's place."""
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadRow("`conversations` is not a list of turns")
    found = 0
    for place, turn in enumerate(turns):
        if turn.get("from") not in ("human", "user"):
            continue
        question = str(turn.get("value", "")).replace("<image>", "").strip()
        if not question:
            raise BadRow("a question is empty")
        following = turns[place + 1] if place + 1 < len(turns) else {}
        answered = following.get("from") in ("gpt", "assistant")
        found += 1
        yield question, str(following.get("value", "")).strip() if answered else ""
    if not found:
        raise BadRow("nobody asks anything in `conversations`")
