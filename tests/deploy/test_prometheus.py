"""Rules and dashboard, by Prometheus' own tools and by a Prometheus that scrapes the server."""

from __future__ import annotations

import json
import math
import re
import runpy
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from demo.endpoint import free_port
from loadtests.prometheus import rule_groups, running_prometheus
from tests.conftest import Endpoint
from tests.deploy.chart import DEPLOY
from tests.server.helpers import chat, encoded, noise, picture_part, post

FOLDER = DEPLOY / "prometheus"
RULES = rule_groups()
DASHBOARD = json.loads((DEPLOY / "chart" / "files" / "dashboard.json").read_text())
QUESTION = "What is the code on the red tag?"
SEEN_WITHIN = 90.0


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rules_test.yaml with the rules beside it, as promtool wants them."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "groups.yaml").write_text(yaml.safe_dump(RULES))
    return Path(shutil.copy(FOLDER / "rules_test.yaml", folder))


@pytest.mark.slow
def test_promtool_takes_the_rules(rules: Path) -> None:
    _promtool("check", "rules", str(rules.with_name("groups.yaml")))


@pytest.mark.slow
def test_alerts_fire_when_they_should_and_only_then(rules: Path) -> None:
    _promtool("test", "rules", str(rules))


@pytest.mark.slow
def test_promtool_would_notice(rules: Path) -> None:
    broken = rules.with_name("broken_test.yaml")
    broken.write_text(rules.read_text().replace("values: 0+10x30", "values: 0x30"))
    with pytest.raises(AssertionError, match="SdrpnNoMaps"):
        _promtool("test", "rules", str(broken))


def test_every_alert_has_a_case_that_fires_and_a_page_in_the_runbook() -> None:
    alerts = {
        rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule
    }
    cases = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]
    fire = {
        c["alertname"] for t in cases for c in t.get("alert_rule_test", []) if "exp_alerts" in c
    }
    assert fire == alerts
    runbook = (DEPLOY.parent / "docs" / "operations.md").read_text()
    headings = {line.strip("# ") for line in runbook.splitlines() if line.startswith("### ")}
    assert alerts <= headings


def test_the_dashboard_is_the_one_that_its_script_writes() -> None:
    assert runpy.run_path(str(FOLDER / "dashboard.py"))["dashboard"]() == DASHBOARD


def test_the_server_declares_every_metric_that_is_asked_for(endpoint: Endpoint) -> None:
    text = httpx.get(f"{endpoint.url}/metrics", timeout=30).text
    declared = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    queries = _queries(server_alone=True)
    asked = {name for query in queries for name in re.findall(r"(?:sdrpn_|vllm:)\w+", query)}
    suffix = re.compile("_(bucket|sum|count)$")
    assert not {name for name in asked if not {name, suffix.sub("", name)} & declared}


@pytest.fixture(scope="module")
def prometheus(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes the endpoint every second, rules included."""
    target = endpoint.url.removeprefix("http://")
    folder = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(target, free_port(), folder) as address:
        yield address


def test_every_query_of_the_dashboard_returns_data_after_a_short_load(
    endpoint: Endpoint, prometheus: str
) -> None:
    waiting = {query.replace("$__rate_interval", "1m") for query in _queries(server_alone=True)}
    deadline = time.monotonic() + SEEN_WITHIN
    seed = 0
    while waiting and time.monotonic() < deadline:
        seed += 1
        _short_load(endpoint.url, seed)
        waiting = {query for query in waiting if not _has_data(prometheus, query)}
    assert not waiting, "\n".join(sorted(waiting))


def test_prometheus_evaluates_every_rule(prometheus: str, endpoint: Endpoint) -> None:
    def unhealthy() -> list[str]:
        groups = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) == sum(len(group["rules"]) for group in RULES["groups"])
        return [rule["name"] for rule in rules if rule["health"] != "ok"]

    deadline = time.monotonic() + SEEN_WITHIN
    while unhealthy() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not unhealthy()


def _promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _queries(server_alone: bool = False) -> list[str]:
    """The dashboard's queries; `server_alone`: those that need no other exporter."""
    panels = runpy.run_path(str(FOLDER / "dashboard.py"))["PANELS"]
    elsewhere = {panel.title for row in panels.values() for panel in row if panel.elsewhere}
    return [
        target["expr"].replace("$namespace", ".*")
        for panel in DASHBOARD["panels"]
        if not (server_alone and panel["title"] in elsewhere)
        for target in panel.get("targets", [])
    ]


def _short_load(url: str, seed: int) -> None:
    """A chat with a region, a streamed one, and one that is refused."""
    picture = picture_part(noise(120, 90, seed))
    jpeg = picture_part(noise(300, 200, seed))
    assert encoded(noise(8, 8), "JPEG")
    post(url, chat(picture, QUESTION, roi={"threshold": 0.0}))
    post(url, chat(jpeg, QUESTION, roi={"threshold": 0.0}, stream=True))
    post(url, chat(picture, QUESTION, roi={"unknown": 1}))


def _has_data(prometheus: str, query: str) -> bool:
    answer: dict[str, Any] = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", f"{query}: {answer}"
    return any(math.isfinite(float(one["value"][1])) for one in answer["data"]["result"])
