"""The Helm chart as Helm itself renders it (Helm's own library, bound by helm-python-sdk)."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import helm_python
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "chart"
NAMESPACE = "vision"
RELEASE = "papers"

Manifest = dict[str, Any]


def values_file(name: str) -> dict[str, Any]:
    """One of the chart's example value files."""
    values: dict[str, Any] = yaml.safe_load((CHART / name).read_text())
    return values


def render(
    values: dict[str, Any] | None = None, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[Manifest]:
    """Every manifest of an installation. Raises helm_python.HelmError for values it refuses."""
    return list(_rendered(json.dumps(values or {}), release, namespace))


@functools.cache
def _rendered(values: str, release: str, namespace: str) -> tuple[Manifest, ...]:
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(json.loads(values))
        texts = chart.render(json.loads(values), name=release, namespace=namespace)
    manifests = [
        manifest
        for name, text in sorted(texts.items())
        if name.endswith(".yaml")
        for manifest in yaml.safe_load_all(text)
        if manifest
    ]
    return tuple(manifests)


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one manifest of that kind and name."""
    (manifest,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return manifest
