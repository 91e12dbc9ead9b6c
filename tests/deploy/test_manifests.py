"""Every overlay renders, is valid, and keeps to the rules a cluster's owner would check."""

from __future__ import annotations

import copy
import re

import jsonschema
import kubernetes_validate
import pytest
import yaml

from server.settings import PREFIX, Settings, read_settings
from tests.deploy.manifests import DEPLOY, OVERLAYS, one, pods, rendered, validate


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_renders_and_every_manifest_is_valid(overlay: str) -> None:
    for manifest in rendered(overlay):
        validate(manifest)


def test_a_misspelt_field_is_found() -> None:
    deployment = copy.deepcopy(one("gpu", "Deployment", "sdrpn-router"))
    deployment["spec"]["replica"] = deployment["spec"].pop("replicas")
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(deployment)
    scaled = copy.deepcopy(one("gpu-keda", "ScaledObject", "sdrpn"))
    scaled["spec"]["maxReplicas"] = scaled["spec"].pop("maxReplicaCount")
    with pytest.raises(jsonschema.ValidationError):
        validate(scaled)
    replicas = copy.deepcopy(one("multi-node", "LeaderWorkerSet", "sdrpn-group"))
    template = replicas["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"]["containers"][0]["resource"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(replicas)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_without_a_namespace(overlay: str) -> None:
    for manifest in rendered(overlay):
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"].get("namespace") == "sdrpn", manifest["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_pass_the_restricted_standard_on_a_read_only_root(overlay: str) -> None:
    for template in pods(overlay).values():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"memory"} <= container["resources"]["limits"].keys()
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_are_ones_the_server_reads(overlay: str) -> None:
    settings = one(overlay, "ConfigMap", "sdrpn-settings")["data"]
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert settings.keys() <= known
    read_settings(settings)
    server = next(t for name, t in pods(overlay).items() if name in ("sdrpn", "sdrpn-group-leader"))
    variables = {variable["name"] for variable in server["spec"]["containers"][0]["env"]}
    assert {v for v in variables if v.startswith(PREFIX)} <= known


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_keys_come_from_secrets_alone(overlay: str) -> None:
    assert not [m for m in rendered(overlay) if m["kind"] == "Secret"]
    for template in pods(overlay).values():
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                if re.search("KEY|TOKEN", variable["name"]):
                    assert "secretKeyRef" in variable["valueFrom"], variable["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_their_pods(overlay: str) -> None:
    labels = [template["metadata"]["labels"] for template in pods(overlay).values()]
    ports = [
        {
            port["name"]
            for container in template["spec"]["containers"]
            for port in container["ports"]
        }
        for name, template in pods(overlay).items()
        if not name.endswith("-worker")
    ]
    for manifest in rendered(overlay):
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            assert any(spec["selector"].items() <= pod.items() for pod in labels)
            for port in spec["ports"]:
                assert any(port["targetPort"] in names for names in ports)
        if manifest["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            wanted = (spec.get("selector") or spec["podSelector"])["matchLabels"]
            assert any(wanted.items() <= pod.items() for pod in labels), manifest["metadata"][
                "name"
            ]


def test_the_machines_of_a_group_find_each_other_and_the_model() -> None:
    group = one("multi-node", "LeaderWorkerSet", "sdrpn-group")["metadata"]["name"]
    services = {m["metadata"]["name"] for m in rendered("multi-node") if m["kind"] == "Service"}
    assert group not in services, "LeaderWorkerSet would take it for its own headless one"
    egress = one("multi-node", "CiliumNetworkPolicy", "sdrpn-egress")["spec"]
    selector = egress["endpointSelector"]["matchLabels"].items()
    found = pods("multi-node")
    for name in (f"{group}-leader", f"{group}-worker"):
        assert selector <= found[name]["metadata"]["labels"].items()
        variables = {one["name"] for one in found[name]["spec"]["containers"][0]["env"]}
        assert {"HF_TOKEN", "VLLM_HOST_IP"} <= variables


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_egress_is_closed_unless_named(overlay: str) -> None:
    policy = one(overlay, "NetworkPolicy", "sdrpn")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"] for rule in policy["spec"]["egress"]] == [
        [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    ]
    for manifest in rendered(overlay):
        if manifest["kind"] == "CiliumNetworkPolicy":
            domains = one(overlay, "ConfigMap", "sdrpn-settings")["data"]["SDRPN_MEDIA_DOMAINS"]
            opened = yaml.safe_dump(manifest["spec"]["egress"])
            assert all(domain.strip(".") in opened for domain in filter(None, domains.split(",")))


def test_autoscalers_read_gauges_that_exist() -> None:
    from server.observe import metrics

    gauges = {"sdrpn_requests_inflight", "sdrpn_requests_queued"}
    assert {metrics.REQUESTS_INFLIGHT._name, metrics.REQUESTS_QUEUED._name} == gauges
    hpa = one("gpu", "HorizontalPodAutoscaler", "sdrpn")["spec"]
    assert {metric["pods"]["metric"]["name"] for metric in hpa["metrics"]} == gauges
    triggers = one("gpu-keda", "ScaledObject", "sdrpn")["spec"]["triggers"]
    asked = [re.findall(r"sdrpn_\w+", trigger["metadata"]["query"]) for trigger in triggers]
    assert {name for names in asked for name in names} == gauges
    adapter = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())
    series = adapter["rules"]["custom"][0]["seriesQuery"]
    pattern = re.search('__name__=~"(.*?)"', series)
    assert pattern
    assert all(re.fullmatch(pattern[1], gauge) for gauge in gauges)


def test_both_autoscalers_scale_alike() -> None:
    hpa = one("gpu", "HorizontalPodAutoscaler", "sdrpn")["spec"]
    keda = one("gpu-keda", "ScaledObject", "sdrpn")["spec"]
    config = keda["advanced"]["horizontalPodAutoscalerConfig"]
    assert hpa["behavior"] == config["behavior"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (
        keda["minReplicaCount"],
        keda["maxReplicaCount"],
    )
    assert [m["pods"]["target"]["averageValue"] for m in hpa["metrics"]] == [
        trigger["metadata"]["threshold"] for trigger in keda["triggers"]
    ]
