"""The comparison's parts that need no server."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

from loadtests.compare.analysis.limit import TokenCosts, fit
from loadtests.compare.analysis.ratios import throughput_ratio
from loadtests.compare.analysis.report import report
from loadtests.compare.analysis.table import table
from loadtests.compare.analysis.token_counts import TokenCounts
from loadtests.compare.arms import Budgets, all_arms
from loadtests.compare.baselines.engine_plugin import register as register_baselines
from loadtests.compare.baselines.window import best_window
from loadtests.compare.capacity import capacity
from loadtests.compare.cells import SETTINGS, Cell, CellResult, Results, plan
from loadtests.compare.options import parse
from loadtests.compare.page_chats import chat, pages
from loadtests.compare.servers import cache_size, with_baselines
from loadtests.compare.shapes import SHAPES, write_model
from loadtests.compare.streaming import Answer, PassTokens
from rpn_plugin.engine.plugin import register
from rpn_plugin.engine_args import CONNECTOR
from server.cli.launch import plan as plan_launch

BUDGETS = Budgets(base=64, crop=64, more=(256,))


def measured(arm: str, round_: int, seconds: float) -> CellResult:
    answer = Answer(0.1, 0.2, "42", 2, (PassTokens(94, 64), PassTokens(160, 64)))
    return CellResult(Cell("prefill", 4, round_, arm), seconds, (answer, answer), (True, False))


def test_arms_of_a_round_stand_side_by_side_in_changing_order() -> None:
    cells = list(plan(["prefill", "decode"], [1, 4], 3, ["a", "b", "c"]))
    assert len(set(cells)) == len(cells) == 2 * 2 * 3 * 3
    groups = [tuple(cells[at : at + 3]) for at in range(0, len(cells), 3)]
    assert all({cell.arm for cell in group} == {"a", "b", "c"} for group in groups)
    assert len({tuple(cell.arm for cell in group) for group in groups}) > 1
    assert [cell.round for cell in cells] == sorted(cell.round for cell in cells)


def test_results_are_read_back(tmp_path: Path) -> None:
    file = tmp_path / "cells.jsonl"
    cells = [measured("zoom", 0, 1.0), measured("zoom", 1, 2.0)]
    results = Results(file)
    for one in cells:
        results.add(one)
    again = Results(file)
    assert list(again) == cells
    assert cells[0].cell in again
    assert Cell("prefill", 4, 2, "zoom") not in again


def test_ratios_are_paired_by_round(tmp_path: Path) -> None:
    results = Results(tmp_path / "cells.jsonl")
    for round_, slow in enumerate((1.0, 10.0, 3.0)):  # a machine with a bad minute
        results.add(measured("plain", round_, slow))
        results.add(measured("zoom", round_, slow * (1.25 if round_ else 1.0)))
    ratio = throughput_ratio(results, "prefill", 4, "zoom", "plain")
    assert ratio is not None
    assert (ratio.median, ratio.least, ratio.greatest) == pytest.approx((0.8, 0.8, 1.0))
    assert throughput_ratio(results, "decode", 4, "zoom", "plain") is None


def test_throughput_at_concurrency_1_is_that_of_the_median_latency() -> None:
    answers = tuple(
        Answer(0.1, latency, "42", 2, (PassTokens(94, 0),)) for latency in (0.2, 0.2, 1.4)
    )
    single = CellResult(Cell("prefill", 1, 0, "zoom"), 1.8, answers, (True,) * 3)
    concurrent = CellResult(Cell("prefill", 4, 0, "zoom"), 1.5, answers, (True,) * 3)
    assert single.throughput == pytest.approx(5.0)
    assert concurrent.throughput == pytest.approx(2.0)


def test_tpot_is_the_time_of_each_token_after_the_first() -> None:
    assert Answer(0.1, 0.5, "four", 5, ()).tpot == pytest.approx(0.1)
    assert Answer(0.1, 0.1, "1", 1, ()).tpot is None


def test_the_report_has_the_latencies_of_all_answers(tmp_path: Path) -> None:
    results = Results(tmp_path / "cells.jsonl")
    for arm in ("plain", "zoom"):
        results.add(measured(arm, 0, 1.0))
    measured_arms = {arm.name: arm for arm in all_arms(BUDGETS) if arm.name in ("plain", "zoom")}
    rows = report(results, measured_arms).rows
    assert [row.arm for row in rows] == ["plain", "zoom"]
    for row in rows:
        assert row.throughput == pytest.approx(2.0)
        assert row.tpot is not None
        times = (row.ttft.p50, row.tpot.p95, row.e2e_latency.p95)
        assert times == pytest.approx((0.1, 0.1, 0.2))
        assert row.correct == 0.5
    text = table(report(results, measured_arms))
    assert "limit: if" not in text, "two kinds of stock requests are too few for a limit"
    assert "concurrency 4" in text
    assert "100 / 100" in text
    assert "200 / 200" in text


def test_the_report_is_in_the_order_of_settings_and_concurrencies(tmp_path: Path) -> None:
    results = Results(tmp_path / "cells.jsonl")
    one = measured("plain", 0, 1.0)
    for setting, concurrency in (("decode", 4), ("prefill", 16), ("prefill", 4)):
        results.add(replace(one, cell=Cell(setting, concurrency, 0, "plain")))
    rows = report(results, {"plain": all_arms(BUDGETS)[0]}).rows
    order = [(row.setting, row.concurrency) for row in rows]
    assert order == [("prefill", 4), ("prefill", 16), ("decode", 4)]


def test_token_costs_are_recovered() -> None:
    true = TokenCosts(0.05, 0.002, 0.001, 0.01, 0.0)
    kinds = [TokenCounts(94, 0, 64, 3), TokenCounts(286, 0, 256, 3), TokenCounts(170, 0, 64, 3)]
    kinds += [TokenCounts(94, 0, 64, 128), TokenCounts(1054, 0, 1024, 128)]
    costs = fit([(tokens, true.seconds(tokens)) for tokens in kinds])
    assert costs is not None
    assert costs.error < 1e-6
    zoom = TokenCounts(187, 64, 128, 3)
    assert costs.seconds(zoom) == pytest.approx(true.seconds(zoom))
    assert fit([(tokens, 1.0) for tokens in kinds[:2]]) is None


def test_no_two_copies_of_a_page_are_the_same_and_none_looks_different() -> None:
    page = next(pages())
    arm = all_arms(BUDGETS)[0]
    bodies = [json.loads(chat(page, arm, "m", SETTINGS[0], mark)) for mark in (1, 2, 2)]
    urls = [body["messages"][0]["content"][0]["image_url"]["url"] for body in bodies]
    assert urls[0] != urls[1] == urls[2]


def test_pages_are_half_legible_and_half_lost() -> None:
    some = list(itertools.islice(pages(), 6))
    assert [page.legible for page in some] == [True, False] * 3
    assert len({page.pixels.tobytes() for page in some}) == 6


def test_a_forced_gate_is_right_about_every_page() -> None:
    forced = Budgets(base=64, crop=64, more=(), forced=True)
    gate = next(arm for arm in all_arms(forced) if arm.name == "gate")
    legible = gate.fields((896, 896), True)["roi"]
    lost = gate.fields((896, 896), False)["roi"]
    assert (legible["gate"], lost["gate"]) == ({"min_peak": 1.0}, {"min_peak": 0.0})
    assert legible["threshold"] == lost["threshold"] == 0.0


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_a_model_that_we_would_serve(name: str, tmp_path: Path) -> None:
    folder = write_model(SHAPES[name], tmp_path / "model")
    launch = plan_launch(str(folder), None, ["--load-format", "dummy"], {})
    assert str(folder) in launch.arguments
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    billions = sum(parameter.numel() for parameter in model.parameters()) / 1e9
    # The released models' own counts.
    released = {"qwen2.5-vl-7b": 8.29, "qwen2.5-vl-3b": 3.75}
    assert billions == pytest.approx(released.get(name, billions), rel=0.01)


def test_a_shape_has_random_weights() -> None:
    with pytest.raises(SystemExit):
        parse(["--model-shape", "tiny", "--model", "some/folder"], "")
    options, flags = parse(["--model-shape", "tiny", "--", "--dtype", "bfloat16"], "")
    assert options.model_shape == "tiny"
    assert flags == ["--dtype", "bfloat16", "--load-format", "dummy"]


@pytest.mark.parametrize(
    ("flags", "given"),
    [
        ([], False),
        (["--dtype", "bfloat16"], False),
        (["--kv-cache-memory-bytes", "1000000000"], True),
        (["--gpu-memory-utilization=0.4"], True),
        (["--gpu_memory_utilization", "0.4"], True),
    ],
)
def test_compared_servers_have_an_explicit_cache_size(flags: list[str], given: bool) -> None:
    assert bool(cache_size(flags)) is not given


def test_the_baselines_are_found_as_plugins_without_being_installed() -> None:
    environment = with_baselines({"PYTHONPATH": "/elsewhere", "VLLM_PLUGINS": "sdrpn_endpoint"})
    assert environment["VLLM_PLUGINS"] == "sdrpn,sdrpn_baselines"
    paths = environment["PYTHONPATH"].split(os.pathsep)
    assert paths[-1] == "/elsewhere"
    for group in ("vllm.general_plugins", "vllm.endpoint_plugins"):
        plugins = [
            entry.load()
            for distribution in metadata.distributions(path=paths)
            for entry in distribution.entry_points.select(group=group, name="sdrpn_baselines")
        ]
        assert len(plugins) == 1, group


def test_the_baselines_connector_replaces_the_products_in_either_order() -> None:
    for registrations in ([register, register_baselines], [register_baselines, register]):
        KVConnectorFactory._registry.pop(CONNECTOR, None)
        for registration in registrations:
            registration()
        connector = KVConnectorFactory.get_connector_class_by_name(CONNECTOR)
        assert connector.__name__ == "AttentionConnector"
    KVConnectorFactory._registry.pop(CONNECTOR, None)
    register()


LOGS = {
    "cpu": "Explicitly set (1.0/23.54) GiB for KV cache\nCPU KV cache size: 107,360 tokens, Max",
    "gpu": "Available KV cache memory: 40.50 GiB\nGPU KV cache size: 663,552 tokens, Maximum",
}


@pytest.mark.parametrize(("log", "told"), [("cpu", (107_360, 10_001)), ("gpu", (663_552, 65_536))])
def test_capacity_is_read_from_vllms_log(log: str, told: tuple[int, int], tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text(LOGS[log])
    cache = capacity(file)
    assert cache is not None
    assert (cache.tokens, round(cache.bytes_per_token)) == told
    file.write_text("")
    assert capacity(file) is None


def window(*cells: tuple[int, int], size: int = 8) -> Any:
    attention = np.full((size, size), 0.1)
    for y, x in cells:
        attention[y, x] = 5.0
    return best_window(attention, side=2.0)


def test_the_window_is_where_attention_is() -> None:
    assert window((2, 5), (2, 6), (3, 5), (3, 6)) == (5, 2, 7, 4)
    assert window((0, 0), (0, 1), (1, 0), (1, 1)) == (0, 0, 2, 2)


def test_the_window_grows_with_what_is_attended_to() -> None:
    block = [(y, x) for y in range(2, 5) for x in range(1, 4)]
    assert window(*block) == (1, 2, 4, 5)


def test_a_map_no_larger_than_a_window_is_taken_whole() -> None:
    assert best_window(np.ones((2, 2)), side=2.0) == (0, 0, 2, 2)
