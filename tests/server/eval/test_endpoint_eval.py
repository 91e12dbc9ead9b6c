"""The real command against the real endpoint, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from demo.pages import write_pages
from tests.conftest import Endpoint

PAGES = 6
KINDS = ("base", "rpn", "gate", "oracle")
CONDITIONS = tuple(f"{kind}@{budget}" for budget in (36, 64) for kind in KINDS)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages(seed=78, count=PAGES, folder=tmp_path_factory.mktemp("pages"))


def start(endpoint: Endpoint, data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "server.cli", "eval", str(data), "--out", str(out)]
    command += ["--url", endpoint.url, "--max-tokens", "6", "--base-tokens", "36", "64", *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_killed_and_resumed_answers_every_question_once(
    endpoint: Endpoint, pages: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    first = start(endpoint, pages, tmp_path, "--in-flight", "1")
    while not results.exists() or len(results.read_text().splitlines()) < 4:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    before = results.read_bytes()

    second = start(endpoint, pages, tmp_path)
    said, complained = second.communicate(timeout=500)
    assert second.returncode == 0, complained
    assert results.read_bytes().startswith(before)
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    answered = [(row["condition"], row["id"]) for row in rows]
    assert len(set(answered)) == len(answered) == PAGES * len(CONDITIONS)

    report = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert tuple(row["condition"] for row in report) == CONDITIONS
    by_name = {row["condition"]: row for row in report}
    assert by_name["base@64"]["regions"] == 0
    assert by_name["oracle@64"]["regions"] == 1
    assert by_name["oracle@64"]["score"] >= by_name["base@64"]["score"]
    assert by_name["base@64"]["prompt_tokens"] > by_name["base@36"]["prompt_tokens"]
    assert by_name["rpn@64"]["prompt_tokens"] > by_name["base@64"]["prompt_tokens"]
    assert set(by_name["rpn@64"]["groups"]) == {"signs", "tags"}
    assert all(row["per_second"] > 0 for row in report)
    assert said.count("| rpn@64 |") == 1
    assert points_drawn(tmp_path / "curve.svg") == dict.fromkeys(KINDS, 2)


def points_drawn(picture: Path) -> dict[str, int]:
    """Markers of each line that is one of KINDS."""
    svg = "{http://www.w3.org/2000/svg}"
    lines = {group.get("id", ""): group for group in ET.parse(picture).getroot().iter(f"{svg}g")}
    return {kind: len(list(lines[kind].iter(f"{svg}use"))) for kind in KINDS}


def test_what_cannot_be_asked_is_told(endpoint: Endpoint, pages: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in pages.read_text().splitlines()][:2]
    rows[1]["image"] = "gone.png"
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    images = ("--images", str(pages.parent), "--conditions", "base")
    process = start(endpoint, data, tmp_path / "out", *images)
    _, complained = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "2 questions got no answer" in complained  # one, under two budgets
    errors = [json.loads(line)["error"] for line in (tmp_path / "out" / "results.jsonl").open()]
    assert sum("gone.png" in (error or "") for error in errors) == 2


def test_answers_of_another_run_are_not_mixed_in(
    endpoint: Endpoint, pages: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"file": "another", "format": "jsonl"}))
    process = start(endpoint, pages, tmp_path)
    _, complained = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "name another folder" in complained
