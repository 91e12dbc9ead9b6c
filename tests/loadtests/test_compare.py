"""The comparison on real servers: stock vLLM and ours, a few chats of every arm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.pages import BASE_TOKENS
from loadtests.compare.__main__ import main
from loadtests.compare.cells import CellResult, Results
from loadtests.compare.page_chats import pages

pytestmark = pytest.mark.endpoint

FEW = 4


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick run leaves."""
    folder = tmp_path_factory.mktemp("compare")
    assert main(["--quick", "--more-tokens", "256", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def short(out: Path) -> dict[str, CellResult]:
    """Its cells with short answers, by arm."""
    cells = Results(out / "cells.jsonl")
    return {m.cell.arm: m for m in cells if m.cell.setting == "prefill"}


def test_pages_are_computed_anew_in_every_arm(short: dict[str, CellResult]) -> None:
    for arm in ("plain", "more tokens: 256", "unused", "s2"):
        assert all(len(a.passes) == 1 and a.passes[0].cached == 0 for a in short[arm].answers), arm
    for arm, measured in short.items():
        assert all(answer.passes[0].cached == 0 for answer in measured.answers) or (
            arm == "vicrop, cached"
        ), arm


def test_budgets_are_the_same_in_stock_vllm_and_ours(short: dict[str, CellResult]) -> None:
    prompts = {arm: [a.passes[0].prompt for a in short[arm].answers] for arm in short}
    assert prompts["plain"] == prompts["unused"] == prompts["zoom"] == prompts["recompute"]
    more = [prompt + 256 - BASE_TOKENS for prompt in prompts["plain"]]
    assert prompts["more tokens: 256"] == more
    four_tiles = [prompt + 4 * (BASE_TOKENS + 2) for prompt in prompts["plain"]]
    assert prompts["s2"] == four_tiles


def test_only_what_may_reuse_a_prefix_does(short: dict[str, CellResult]) -> None:
    for arm in ("zoom", "gate", "vicrop, cached"):
        assert all(answer.passes[-1].cached > 0 for answer in short[arm].answers), arm
    for arm in ("recompute", "vicrop"):
        passes = [tokens for answer in short[arm].answers for tokens in answer.passes]
        assert len(passes) == 2 * FEW
        assert all(tokens.cached == 0 for tokens in passes), arm
    pairs = zip(short["recompute"].answers, short["vicrop"].answers, strict=True)
    for ours, theirs in pairs:
        assert theirs.passes[0].prompt > 1.5 * ours.passes[0].prompt, "two passes before the last"


def test_a_gate_may_skip_and_zoom_may_not(short: dict[str, CellResult]) -> None:
    assert {answer.skipped for answer in short["zoom"].answers} == {None}
    assert {answer.skipped for answer in short["gate"].answers} <= {None, "gate"}
    assert {answer.skipped for answer in short["unused"].answers} == {"off"}


def test_correct_answers_are_those_of_the_pages(short: dict[str, CellResult]) -> None:
    truths = [page.answer for page, _ in zip(pages(), range(FEW), strict=False)]
    for arm, measured in short.items():
        asked = zip(measured.answers, truths, strict=False)
        assert list(measured.correct) == [answer.text == truth for answer, truth in asked], arm
    assert sum(short["zoom"].correct) > sum(short["plain"].correct)


def test_long_answers_have_their_exact_length(out: Path) -> None:
    long = [m for m in Results(out / "cells.jsonl") if m.cell.setting == "decode"]
    assert {answer.completion_tokens for m in long for answer in m.answers} == {128}


def test_the_report_says_it_all_again_without_a_server(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--quick", "--more-tokens", "256", "--out", str(out)]) == 0
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((out / "report.json").read_text())
    rows = {(row["setting"], row["arm"]): row for row in told["report"]["rows"]}
    zoom, recompute = rows["prefill", "zoom"], rows["prefill", "recompute"]
    assert rows["decode", "zoom"]["tpot"]["p50"] > 0
    assert zoom["e2e_latency"]["p50"] >= zoom["ttft"]["p50"] > 0
    assert zoom["tokens"]["cached"] > 0 == recompute["tokens"]["cached"]
    assert zoom["tokens"]["encoded"] < recompute["tokens"]["encoded"]
    # Equal where the times of a busy machine fit token costs of zero.
    assert zoom["limit"] >= recompute["limit"]
