"""A few rows of each benchmark, laid out as its authors publish it."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image


def picture(path: Path) -> bytes:
    """A small picture at `path`, whose folders are made; its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((64, 48), 40).convert("RGB").save(path)
    return path.read_bytes()


def textvqa(folder: Path) -> Path:
    """TextVQA_0.5.1_val.json beside train_images/."""
    picture(folder / "train_images" / "003a8ae2ef43b901.jpg")
    row = {
        "question": "what is the brand of this camera?", "image_id": "003a8ae2ef43b901",
        "image_classes": ["Cassette deck"], "image_width": 64, "image_height": 48,
        "flickr_300k_url": "https://c1.staticflickr.com/x.jpg", "question_id": 34602,
        "question_tokens": ["what"], "set_name": "val",
        "answers": ["nous les gosses", *["dakota"] * 9],
    }  # fmt: skip
    document = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1"}
    return _write(folder / "TextVQA_0.5.1_val.json", {**document, "data": [row]})


def docvqa(folder: Path) -> Path:
    """val_v1.0_withQT.json, whose paths say documents/, beside spdocvqa_images/."""
    picture(folder / "spdocvqa_images" / "ffbf0023_4.png")
    row = {
        "questionId": 49153, "question": "What is the actual value per 1000?",
        "question_types": ["figure/diagram"], "image": "documents/ffbf0023_4.png", "docId": 14465,
        "ucsf_document_id": "ffbf0023", "ucsf_document_page_no": "4",
        "answers": ["0.28"], "data_split": "val",
    }  # fmt: skip
    document = {"dataset_name": "SP-DocVQA", "dataset_version": "1.0", "dataset_split": "val"}
    return _write(folder / "val_v1.0_withQT.json", {**document, "data": [row]})


def infovqa(folder: Path) -> Path:
    """infographicsVQA_val_v1.0_withQT.json beside infographicsvqa_images/."""
    picture(folder / "infographicsvqa_images" / "38931.jpeg")
    row = {
        "questionId": 98313, "question": "Which social platform has heavy female audience?",
        "image_local_name": "38931.jpeg", "image_url": "https://x.org/38931.jpeg",
        "ocr_output_file": "38931.json", "answers": ["pinterest"], "data_split": "val",
        "answer_type": ["single span"], "operation/reasoning": [], "evidence": ["text"],
    }  # fmt: skip
    document = {"dataset_name": "infographicVQA", "dataset_version": "1.0"}
    name = "infographicsVQA_val_v1.0_withQT.json"
    return _write(folder / name, {**document, "data": [row]})


def chartqa(folder: Path) -> Path:
    """test_human.json beside png/."""
    picture(folder / "png" / "41699051005347.png")
    row = {"imgname": "41699051005347.png", "query": "How many food items?", "label": "14"}
    return _write(folder / "test_human.json", [row])


def vstar(folder: Path) -> Path:
    """test_questions.jsonl, and beside each picture a .json with boxes."""
    picture(folder / "direct_attributes" / "sa_4690.jpg")
    about = {"target_object": ["glove"], "bbox": [[10, 20, 30, 15]], "question": "What ...?",
             "options": ["rubber", "cotton"]}  # fmt: skip
    _write(folder / "direct_attributes" / "sa_4690.json", about)
    row = {
        "image": "direct_attributes/sa_4690.jpg",
        "text": "What is the material of the glove?\n(A) rubber\n(B) cotton\nAnswer with the "
        "option's letter from the given choices directly.",
        "category": "direct_attributes", "label": "A", "question_id": 0,
    }  # fmt: skip
    path = folder / "test_questions.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return path


def hrbench(folder: Path) -> Path:
    """hr_bench_4k.tsv with pictures in base64."""
    image = io.BytesIO()
    Image.effect_noise((600, 400), 40).convert("RGB").save(image, "JPEG", quality=95)
    columns = ["index", "question", "answer", "category", "A", "B", "C", "D", "cycle_category",
               "image"]  # fmt: skip
    encoded = base64.b64encode(image.getvalue()).decode()
    rows = [
        ["0", "What's the color of the umbrella?", "A", "single", "Blue", "Red", "Pink", "Teal",
         "single_0", encoded],
        ["1", "What's the color of the umbrella?", "B", "single", "Teal", "Blue", "Red", "Pink",
         "single_1", encoded],
    ]  # fmt: skip
    path = folder / "hr_bench_4k.tsv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows([columns, *rows])
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "textvqa": textvqa, "docvqa": docvqa, "infovqa": infovqa, "chartqa": chartqa, "vstar": vstar,
    "hrbench": hrbench,
}  # fmt: skip


def _write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
