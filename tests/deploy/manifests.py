"""The overlays as `kubectl kustomize` renders them, and what says whether they are valid."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir())
KUBERNETES = ("1.32", kubernetes_validate.latest_version())
"""The oldest version the manifests are made for (they use preStop's `sleep`), and the newest."""

Manifest = dict[str, Any]

_SCHEMAS = yaml.safe_load((Path(__file__).parent / "custom_resources.yaml").read_text())


@functools.cache
def _kubectl() -> str:
    """kubectl with kustomize 5, or the test is skipped: 4 and older do not read what is here."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl 1.27 or newer")
    version = subprocess.run(
        [kubectl, "version", "--client", "-o", "yaml"], capture_output=True, text=True, check=True
    )
    if not yaml.safe_load(version.stdout).get("kustomizeVersion", "v0").startswith("v5"):
        pytest.skip(f"needs kubectl 1.27 or newer, found {version.stdout}")
    return kubectl


@functools.cache
def rendered(overlay: str) -> list[Manifest]:
    """Every manifest of `overlay`."""
    command = [_kubectl(), "kustomize", str(DEPLOY / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kubectl warns: {done.stderr}"
    return list(yaml.safe_load_all(done.stdout))


def one(overlay: str, kind: str, name: str) -> Manifest:
    """The one manifest of that kind and name, which kustomize may have given a hash at its end."""
    found = [
        manifest
        for manifest in rendered(overlay)
        if manifest["kind"] == kind
        and re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", manifest["metadata"]["name"])
    ]
    assert len(found) == 1, f"{overlay}: {len(found)} {kind} {name}"
    return found[0]


def pods(overlay: str) -> dict[str, Manifest]:
    """The pod specs in `overlay`, by the name of what makes the pods."""
    found = {}
    for manifest in rendered(overlay):
        name, spec = manifest["metadata"]["name"], manifest.get("spec", {})
        if manifest["kind"] == "Deployment":
            found[name] = spec["template"]
        if manifest["kind"] == "LeaderWorkerSet":
            found[f"{name}-leader"] = spec["leaderWorkerTemplate"]["leaderTemplate"]
            found[f"{name}-worker"] = spec["leaderWorkerTemplate"]["workerTemplate"]
    return found


def validate(manifest: Manifest) -> None:
    """Raises if Kubernetes, or the operator whose resource it is, would not take `manifest`."""
    schema = _SCHEMAS.get(f"{manifest['apiVersion']}/{manifest['kind']}")
    if schema is None:
        _validate_by_kubernetes(json.dumps(manifest))
        return
    jsonschema.validate(manifest, {**_SCHEMAS["common"], **schema})
    if manifest["kind"] == "LeaderWorkerSet":
        for part in ("leaderTemplate", "workerTemplate"):
            template = manifest["spec"]["leaderWorkerTemplate"][part]
            pod = {"apiVersion": "v1", "kind": "Pod", **template}
            validate({**pod, "metadata": {"name": "pod", **template["metadata"]}})


@functools.cache  # overlays share most of their manifests, and a schema takes a second to resolve
def _validate_by_kubernetes(manifest: str) -> None:
    for version in KUBERNETES:
        kubernetes_validate.validate(json.loads(manifest), version, strict=True)
