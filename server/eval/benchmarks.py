"""Question-answer files as their authors publish them, read into one kind of question."""

from __future__ import annotations

import base64
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from server.eval.scoring import Metric, anls, choice, exact, relaxed, vqa_accuracy

_SHORT = "\nAnswer the question using a single word or phrase."
_LETTER = "\nAnswer with the option's letter from the given choices directly."

Box = tuple[float, float, float, float]


class QuestionFileError(Exception):
    """A file is not what it was said to be; one line says why."""


@dataclass(frozen=True)
class Question:
    """One question. `picture`: the path of its file, or the file's bytes. `boxes`: where the
    answer stands, [x0, y0, x1, y1] in pixels, if the benchmark says so. `group`: what part of the
    benchmark it belongs to."""

    id: str
    picture: Path | bytes
    text: str
    answers: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    group: str = ""

    def picture_bytes(self) -> bytes:
        """The picture's file. OSError if it is not there."""
        return self.picture if isinstance(self.picture, bytes) else self.picture.read_bytes()


@dataclass(frozen=True)
class Benchmark:
    """How a benchmark's file is read and its answers are scored.

    `read` gets the file and the folder of its pictures; `images` is where that is by default,
    beside the file. `suffix` is what the question is followed by.
    """

    name: str
    metric: Metric
    read: Callable[[Path, Path], Iterator[Question]] = field(repr=False)
    images: str = "."
    suffix: str = ""

    def questions(
        self, path: Path, images: Path | None = None, limit: int | None = None
    ) -> list[Question]:
        """The questions of the file `path`, the first `limit` or all. Raises QuestionFileError.

        Formats with a question a line are read only as far as needed.
        """
        folder = images or path.parent / self.images
        try:
            questions = list(islice(self.read(path, folder), limit))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            what = f"{path} is no file of {self.name}"
            raise QuestionFileError(f"{what}: {type(error).__name__} {error}") from error
        if not questions:
            raise QuestionFileError(f"{path} has no questions")
        return questions


def _read_jsonl(path: Path, images: Path) -> Iterator[Question]:
    """The rows `sdrpn distill` takes: image, question, answer or answers, and perhaps box."""
    for number, row in enumerate(_lines(path), 1):
        answers = row["answers"] if "answers" in row else [row["answer"]]
        yield Question(
            id=str(row.get("id", number)),
            picture=images / row["image"],
            text=row["question"],
            answers=tuple(map(str, answers)),
            boxes=(_corners(row["box"]),) if row.get("box") else (),
            group=str(row.get("kind", "")),
        )


def _read_textvqa(path: Path, images: Path) -> Iterator[Question]:
    for row in _json(path)["data"]:
        picture = images / f"{row['image_id']}.jpg"
        yield Question(str(row["question_id"]), picture, row["question"], tuple(row["answers"]))


def _read_docvqa(path: Path, images: Path) -> Iterator[Question]:
    for row in _json(path)["data"]:
        name = Path(row["image"])  # "documents/x.png"; newer archives have x.png in another folder
        picture = images / name if (images / name).exists() else images / name.name
        yield Question(str(row["questionId"]), picture, row["question"], tuple(row["answers"]))


def _read_infovqa(path: Path, images: Path) -> Iterator[Question]:
    for row in _json(path)["data"]:
        picture = images / row["image_local_name"]
        yield Question(str(row["questionId"]), picture, row["question"], tuple(row["answers"]))


def _read_chartqa(path: Path, images: Path) -> Iterator[Question]:
    for number, row in enumerate(_json(path)):
        yield Question(str(number), images / row["imgname"], row["query"], (str(row["label"]),))


def _read_vstar(path: Path, images: Path) -> Iterator[Question]:
    """Beside each picture lies a .json with the boxes [x, y, width, height] of what is asked."""
    for row in _lines(path):
        picture = images / row["image"]
        about = picture.with_suffix(".json")
        boxes = json.loads(about.read_bytes()).get("bbox", []) if about.exists() else []
        corners = tuple((x, y, x + width, y + height) for x, y, width, height in boxes)
        name = str(row["question_id"])
        yield Question(name, picture, row["text"], (row["label"],), corners, row["category"])


def _read_hrbench(path: Path, images: Path) -> Iterator[Question]:
    """Tab-separated, pictures in base64; each question comes with its options turned round."""
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            options = "".join(f"\n{letter}. {row[letter]}" for letter in "ABCD")
            picture = base64.b64decode(row["image"], validate=True)
            text = f"{row['question']}{options}{_LETTER}"
            yield Question(row["index"], picture, text, (row["answer"],), (), row["category"])


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("jsonl", exact, _read_jsonl),
        Benchmark("textvqa", vqa_accuracy, _read_textvqa, "train_images", _SHORT),
        Benchmark("docvqa", anls, _read_docvqa, "spdocvqa_images", _SHORT),
        Benchmark("infovqa", anls, _read_infovqa, "infographicsvqa_images", _SHORT),
        Benchmark("chartqa", relaxed, _read_chartqa, "png", _SHORT),
        Benchmark("vstar", choice, _read_vstar),
        Benchmark("hrbench", choice, _read_hrbench),
    )
}


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _corners(box: Sequence[float]) -> Box:
    x0, y0, x1, y1 = box
    return float(x0), float(y0), float(x1), float(y1)
