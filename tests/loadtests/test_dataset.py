"""The pages and questions that `python -m loadtests.dataset` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from loadtests.dataset import main
from loadtests.pages import SIZES


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_tool_gets_every_question_and_its_picture(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--pages", "3", "--questions", "2"])
    vllm = [(row["prompt"], *row["image_files"]) for row in rows(tmp_path / "vllm.jsonl")]
    guidellm = [(row["prompt"], row["image"]) for row in rows(tmp_path / "guidellm.jsonl")]
    aiperf = [(row["text"], row["image"]) for row in rows(tmp_path / "aiperf.jsonl")]
    assert vllm == guidellm == aiperf
    assert len(set(vllm)) == 6
    assert len({picture for _, picture in vllm}) == 3
    assert all(Path(picture).is_absolute() for _, picture in vllm)


def test_pictures_are_in_the_formats_that_every_tool_sends(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--pages", "10", "--mixed-sizes"])
    images = [Image.open(row["image"]) for row in rows(tmp_path / "aiperf.jsonl")]
    assert {image.format for image in images} == {"PNG", "JPEG"}
    assert {image.size for image in images} == set(SIZES)


def test_no_two_datasets_share_a_page(tmp_path: Path) -> None:
    for name in ("one", "two"):
        main(["--out", str(tmp_path / name), "--pages", "2"])
    pictures = [path.read_bytes() for path in tmp_path.glob("*/pictures/*")]
    assert len(set(pictures)) == 4
