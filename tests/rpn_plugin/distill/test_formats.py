"""Every kind of data gives the same samples; bad rows are set aside with a reason, each its own."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pytest
from PIL import Image

from rpn_plugin.distill.data.formats import read_samples
from rpn_plugin.distill.data.samples import BadRow, DataError, check_share, write_rejected


def picture(path: Path, colour: str = "red") -> Path:
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def test_jsonl(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    data = jsonl(
        tmp_path / "data.jsonl",
        [
            {"image": "a.png", "question": "Why?", "answers": ["so", "because"]},
            {"image": "a.png", "question": "How?", "answer": "thus", "box": [1, 2, 3, 4]},
            {"image": "a.png", "question": "Where?"},
        ],
    )
    samples, rejected, rows = read_samples(data)
    assert not rejected
    assert rows == 3
    assert [s.row for s in samples] == ["1", "2", "3"]
    assert [s.answers for s in samples] == [("so", "because"), ("thus",), ()]
    assert samples[1].box == (1, 2, 3, 4)
    assert samples[0].picture().size == (40, 30)


def test_bad_rows_have_reasons_and_do_not_stop_the_rest(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("no picture")
    bad = {
        "{not json": "no JSON",
        "[1]": "not an object",
        '{"question": "Why?"}': "no `image`",
        '{"image": "a.png"}': "no `question`",
        '{"image": "a.png", "question": "  "}': "no `question`",
        '{"image": "gone.png", "question": "Why?"}': "No such file",
        '{"image": "text.png", "question": "Why?"}': "not a picture",
        '{"image": ["a.png", "a.png"], "question": "Why?"}': "has 2 pictures",
        '{"image": "a.png", "question": "Why?", "box": [3, 2, 1]}': "`box`",
        '{"image": "a.png", "question": "Why?", "box": [3, 2, 1, 4]}': "no area",
    }
    good = {"image": "a.png", "question": "Why?"}
    data = jsonl(tmp_path / "data.jsonl", [good, *bad, good])
    samples, rejected, rows = read_samples(data)
    assert [s.row for s in samples] == ["1", str(len(bad) + 2)]
    assert rows == len(bad) + 2
    assert [r.row for r in rejected] == [str(n) for n in range(2, len(bad) + 2)]
    for row, reason in zip(rejected, bad.values(), strict=True):
        assert reason in row.reason

    listed = tmp_path / "bad_rows.jsonl"
    write_rejected(rejected, listed)
    assert len(listed.read_text().splitlines()) == len(bad)
    with pytest.raises(DataError, match=r"10 of 12 rows are bad.*bad_rows\.jsonl"):
        check_share(len(rejected), rows, 0.05, listed)
    check_share(len(rejected), rows, 0.9, listed)


def test_a_truncated_picture_is_found_when_it_is_decoded(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    data = jsonl(tmp_path / "data.jsonl", [{"image": "cut.png", "question": "Why?"}])
    samples, rejected, _ = read_samples(data)
    assert not rejected
    with pytest.raises(BadRow, match="broken"):
        samples[0].picture()


def test_llava_conversations(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    turns = [
        {"from": "human", "value": "<image>\nWhy?"},
        {"from": "gpt", "value": "So."},
        {"from": "human", "value": "How?"},
        {"from": "gpt", "value": "Thus."},
    ]
    data = tmp_path / "data.json"
    rows = [
        {"id": "x", "image": "a.png", "conversations": turns},
        {"id": "y", "image": "a.png", "conversations": turns[:2]},
        {"id": "z", "conversations": turns},
        {"id": "w", "image": "a.png", "conversations": [turns[1]]},
    ]
    data.write_text(json.dumps(rows))
    samples, rejected, _ = read_samples(data)
    assert [(s.row, s.question, s.answers) for s in samples] == [
        ("0.0", "Why?", ("So.",)),
        ("0.1", "How?", ("Thus.",)),
        ("1", "Why?", ("So.",)),
    ]
    assert [r.row for r in rejected] == ["2", "3"]


def test_a_datasets_folder(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", "blue")
    columns = {"image": [str(first), str(second)], "question": ["Why?", "How?"],
               "answers": [["so", "because"], ["thus"]]}  # fmt: skip
    features = datasets.Features(
        image=datasets.Image(),
        question=datasets.Value("string"),
        answers=datasets.List(datasets.Value("string")),
    )
    made = datasets.Dataset.from_dict(columns, features=features)
    made.save_to_disk(tmp_path / "plain")
    datasets.DatasetDict({"train": made, "test": made.select([1])}).save_to_disk(tmp_path / "two")
    first.unlink()  # pictures are in the folder itself
    second.unlink()

    samples, rejected, rows = read_samples(tmp_path / "plain")
    assert (rejected, rows) == ([], 2)
    assert [s.answers for s in samples] == [("so", "because"), ("thus",)]
    assert [s.picture().getpixel((5, 5)) for s in samples] == [(255, 0, 0), (0, 0, 255)]
    assert [s.question for s in read_samples(tmp_path / "two", split="test")[0]] == ["How?"]
    with pytest.raises(DataError, match="no split 'dev'"):
        read_samples(tmp_path / "two", split="dev")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.csv", "a,b", "data is a .jsonl"),
        ("data.json", "{}", "list of conversations"),
        ("data.json", "{", "no JSON"),
        ("data.jsonl", "", "no rows"),
    ],
)
def test_data_that_is_none_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / name)


def test_missing_data_and_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_samples(tmp_path / "gone.jsonl")
    with pytest.raises(DataError, match="no folder of"):
        read_samples(tmp_path)
