"""The workflows and the pre-commit hooks run the same commands as the Makefile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repository import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, re.M))


def jobs(workflow: Path) -> list[dict[str, Any]]:
    """The jobs of a workflow file."""
    return list(yaml.safe_load(workflow.read_text())["jobs"].values())


def make_targets(text: str) -> set[str]:
    """The targets of every `make` command in a shell script."""
    return set(re.findall(r"\bmake ([\w-]+)", text))


def test_each_task_has_its_workflow() -> None:
    assert {path.stem for path in WORKFLOWS} == {"checks", "tests", "image", "release"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_complete(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())
    assert content["name"] == workflow.stem
    # YAML 1.1 reads the key `on` as true.
    assert content[True]
    assert content["permissions"] == {"contents": "read"}
    for job in jobs(workflow):
        assert job["runs-on"]
        assert job["timeout-minutes"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_make_targets_that_exist(workflow: Path) -> None:
    runs = [step["run"] for job in jobs(workflow) for step in job["steps"] if "run" in step]
    targets = set().union(*map(make_targets, runs))
    assert targets, "runs no make target"
    assert targets <= TARGETS


def test_the_local_runner_runs_a_make_target_that_exists() -> None:
    targets = make_targets((ROOT / ".ci" / "run").read_text())
    assert targets
    assert targets <= TARGETS


def test_pre_commit_hooks_run_the_tools_of_the_makefile() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    for hook in hooks:
        tool = re.match(r"\.venv/bin/python -m (ruff \w+|mypy)", hook["entry"])
        assert tool, hook["entry"]
        assert f"$(RUN) -m {tool[1]}" in MAKEFILE
