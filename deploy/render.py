"""Renders the Helm chart for people who apply manifests: `python deploy/render.py`.

Writes deploy/rendered/*.yaml, the chart's output for two sets of values, in a namespace named
`sdrpn`. tests/deploy/test_chart.py holds the files to the chart. Rendering is Helm's own library
(helm-python-sdk).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm_python
import yaml

DEPLOY = Path(__file__).resolve().parent
CHART = DEPLOY / "chart"
RENDERED = {"gpu": {}, "cpu": yaml.safe_load((CHART / "values-cpu.yaml").read_text())}


def templates(values: dict[str, Any], release: str, namespace: str) -> dict[str, str]:
    """The rendered templates by file name. Raises helm_python.HelmError for values it refuses."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name=release, namespace=namespace)
    return {name: text for name, text in sorted(texts.items()) if name.endswith(".yaml")}


def text(name: str) -> str:
    """One file of deploy/rendered."""
    parts = templates(RENDERED[name], "sdrpn", "sdrpn").values()
    head = "# Written by deploy/render.py from deploy/chart; do not edit.\n"
    return head + "".join(f"---\n{part.strip()}\n" for part in parts if part.strip())


if __name__ == "__main__":
    (DEPLOY / "rendered").mkdir(exist_ok=True)
    for each in RENDERED:
        (DEPLOY / "rendered" / f"{each}.yaml").write_text(text(each))
