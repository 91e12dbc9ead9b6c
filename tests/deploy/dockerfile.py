"""The Dockerfile, read: what its stages say."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from dockerfile_parse import DockerfileParser

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


def instructions(stage: str) -> dict[str, list[str]]:
    """The instructions of a stage, by kind."""
    with DOCKERFILE.open("rb") as file:
        steps = DockerfileParser(fileobj=file).structure
    found: dict[str, list[str]] = defaultdict(list)
    current = ""
    for step in steps:
        if step["instruction"] == "FROM":
            current = step["value"].split()[-1]
        elif current == stage:
            found[step["instruction"]].append(step["value"])
    return found


def entry_point(target: str) -> list[str]:
    """The words that a container of this target starts with."""
    words: list[str] = json.loads(instructions(target)["ENTRYPOINT"][0])
    return words
