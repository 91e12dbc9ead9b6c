"""Files of every benchmark are read as their authors publish them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from server.eval.benchmarks import BENCHMARKS, Question, QuestionFileError
from tests.server.eval.files import FILES, picture

EXPECTED = {
    "textvqa": ("34602", "what is the brand of this camera?", "dakota", ""),
    "docvqa": ("49153", "What is the actual value per 1000?", "0.28", ""),
    "infovqa": ("98313", "Which social platform has heavy female audience?", "pinterest", ""),
    "chartqa": ("0", "How many food items?", "14", ""),
    "vstar": ("0", "What is the material of the glove?\n(A) rubber", "A", "direct_attributes"),
    "hrbench": ("0", "What's the color of the umbrella?\nA. Blue\nB. Red", "A", "single"),
}


def opens(question: Question) -> bool:
    with Image.open(io.BytesIO(question.picture_bytes())) as image:
        return image.width > 0


@pytest.mark.parametrize("name", FILES)
def test_rows_become_questions_with_their_picture(name: str, tmp_path: Path) -> None:
    question = BENCHMARKS[name].questions(FILES[name](tmp_path))[0]
    identity, text, answer, group = EXPECTED[name]
    assert question.id == identity
    assert question.text.startswith(text)
    assert answer in question.answers
    assert question.group == group
    assert opens(question)


@pytest.mark.parametrize("name", FILES)
def test_right_and_wrong_answers_are_told_apart(name: str, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    question = benchmark.questions(FILES[name](tmp_path))[0]
    assert benchmark.metric(EXPECTED[name][2], question.answers) == 1.0
    assert benchmark.metric("zebra", question.answers) == 0.0


def test_vstar_has_the_boxes_beside_its_pictures(tmp_path: Path) -> None:
    question = BENCHMARKS["vstar"].questions(FILES["vstar"](tmp_path))[0]
    assert question.boxes == ((10, 20, 40, 35),)


def test_our_own_rows(tmp_path: Path) -> None:
    picture(tmp_path / "pictures" / "a.png")
    rows = [
        {"image": "a.png", "question": "Why?", "answer": 42, "box": [1, 2, 3, 4], "kind": "tags"},
        {"image": "a.png", "question": "How?", "answers": ["so", "thus"]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = BENCHMARKS["jsonl"].questions(path, tmp_path / "pictures")
    assert (first.answers, first.boxes, first.group) == (("42",), ((1, 2, 3, 4),), "tags")
    assert (second.id, second.answers, second.boxes) == ("2", ("so", "thus"), ())


@pytest.mark.parametrize("name", FILES)
def test_another_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_text('[{"nothing": 1}]\n"nothing"\n')
    with pytest.raises(QuestionFileError, match=f"is no file of {name}"):
        BENCHMARKS[name].questions(path)
