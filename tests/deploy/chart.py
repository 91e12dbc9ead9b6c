"""The Helm chart as Helm itself renders it, and what says whether its manifests are valid."""

from __future__ import annotations

import functools
import json
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "chart"
RENDER = runpy.run_path(str(DEPLOY / "render.py"))
NAMESPACE = "vision"
RELEASE = "papers"
KUBERNETES = ("1.32", kubernetes_validate.latest_version())
"""The oldest version the chart is made for (it uses preStop's `sleep`), and the newest."""

Manifest = dict[str, Any]
Values = dict[str, Any]

VARIANTS: dict[str, Values] = {
    "gpu": {},
    "cpu": RENDER["RENDERED"]["cpu"],
    "everything": {
        "model": {"name": "Qwen/Qwen2.5-VL-72B-Instruct", "rpn": "hf://you/rpn-72b"},
        "gpus": 4,
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
        "storage": {"shared": True, "className": "nfs", "size": "200Gi"},
        "imagePullSecrets": [{"name": "registry"}],
        "image": {"digest": "sha256:" + "0" * 64},
        "nodeSelector": {"gpu": "h100"},
        "priorityClassName": "serving",
        "runtimeClassName": "nvidia",
        "autoscaling": {"kind": "hpa"},
        "monitoring": {"enabled": True},
        "ingress": {"enabled": True, "className": "nginx"},
        "httpRoute": {"enabled": True, "hostnames": ["sdrpn.example.com"]},
    },
    "keda": {"autoscaling": {"kind": "keda"}, "monitoring": {"enabled": True}},
    "air-gapped": {
        "huggingFace": {"endpoint": "https://hub.example.com"},
        "networkPolicy": {
            "egressPublic": False,
            "egress": [{"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": 443}]}],
        },
    },
    "no router": {"router": {"enabled": False}, "networkPolicy": {"enabled": False}},
}
"""Installations that between them render every branch of every template."""

_SCHEMAS = yaml.safe_load((Path(__file__).parent / "custom_resources.yaml").read_text())


def render(
    values: Values | None = None, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[Manifest]:
    """Every manifest of an installation. Raises helm_python.HelmError for values it refuses."""
    return list(_rendered(json.dumps(values or {}), release, namespace))


@functools.cache
def _rendered(values: str, release: str, namespace: str) -> tuple[Manifest, ...]:
    texts = RENDER["templates"](json.loads(values), release, namespace)
    parsed = (manifest for text in texts.values() for manifest in yaml.safe_load_all(text))
    return tuple(filter(None, parsed))


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one manifest of that kind and name."""
    (manifest,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return manifest


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod templates, by the name of the Deployment."""
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]
        for manifest in manifests
        if manifest["kind"] == "Deployment"
    }


def server(manifests: list[Manifest], release: str = RELEASE) -> Manifest:
    """The container that serves."""
    container: Manifest = pods(manifests)[release]["spec"]["containers"][0]
    return container


def validate(manifest: Manifest) -> None:
    """Raises if Kubernetes, or the operator whose resource it is, would not take `manifest`."""
    schema = _SCHEMAS.get(f"{manifest['apiVersion']}/{manifest['kind']}")
    if schema is None:
        _validate_by_kubernetes(json.dumps(manifest))
    else:
        jsonschema.validate(manifest, {**_SCHEMAS["common"], **schema})


@functools.cache  # variants share most of their manifests, and a schema takes a second to resolve
def _validate_by_kubernetes(manifest: str) -> None:
    for version in KUBERNETES:
        kubernetes_validate.validate(json.loads(manifest), version, strict=True)
