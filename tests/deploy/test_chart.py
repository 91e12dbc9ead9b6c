"""Every installation renders, is valid, and keeps to the rules a cluster's owner would check."""

from __future__ import annotations

import copy
import re
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import pytest
import yaml

from server.observe import metrics
from server.settings import PREFIX, Settings, read_settings
from tests.deploy.chart import (
    CHART,
    DEPLOY,
    NAMESPACE,
    RELEASE,
    RENDER,
    VARIANTS,
    Manifest,
    one,
    pods,
    render,
    server,
    validate,
)

ENGINE_STOPS_WITHIN = 20
"""Seconds between the last answer and the end of the process."""
READY_ANSWERS_WITHIN = 10.0
"""Seconds after which the server itself says that its engine does not answer."""


@pytest.fixture(params=VARIANTS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(VARIANTS[request.param])


def test_every_manifest_is_valid(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        validate(manifest)


def test_helm_finds_nothing_wrong() -> None:
    result = helm_python.lint(CHART)
    assert not result["errors"]
    assert {message["error"] for message in result["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("name", RENDER["RENDERED"])
def test_the_rendered_files_are_the_charts(name: str) -> None:
    written = (DEPLOY / "rendered" / f"{name}.yaml").read_text()
    assert written == RENDER["text"](name), "run `python deploy/render.py`"


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 2},
        {"model": {"nam": "a"}},
        {"gpus": "one"},
        {"image": {"digest": "sha256:1"}},
        {"settings": {"SDRPN_API_KEY": "in the open"}},
        {"settings": {"max_inflight": "2"}},
        {"autoscaling": {"kind": "vpa"}},
        {"storage": {"size": "100"}},
    ],
)
def test_misspelt_and_impossible_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmError):
        render(values)


def test_a_misspelt_field_is_found() -> None:
    deployment = copy.deepcopy(one(render(), "Deployment", RELEASE))
    deployment["spec"]["replica"] = deployment["spec"].pop("replicas")
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(deployment)
    scaled = copy.deepcopy(one(render(VARIANTS["keda"]), "ScaledObject", RELEASE))
    scaled["spec"]["maxReplicas"] = scaled["spec"].pop("maxReplicaCount")
    with pytest.raises(jsonschema.ValidationError):
        validate(scaled)


def test_two_releases_fit_into_one_namespace() -> None:
    """And neither names the other's namespace, release or pods."""
    first, second = render(release="papers"), render(release="scans")
    assert not {(m["kind"], m["metadata"]["name"]) for m in first} & {
        (m["kind"], m["metadata"]["name"]) for m in second
    }
    for manifest in first:
        assert manifest["metadata"]["namespace"] == NAMESPACE
    text = yaml.safe_dump_all(render(VARIANTS["everything"]))
    assert "sdrpn.svc" not in text
    selector = one(first, "Service", "papers")["spec"]["selector"]
    assert not selector.items() <= pods(second)["scans"]["metadata"]["labels"].items()


def test_pods_pass_the_restricted_standard(manifests: list[Manifest]) -> None:
    for template in pods(manifests).values():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            # NVIDIA's CDI hook needs a root that can be written to.
            on_gpu = "nvidia.com/gpu" in container["resources"]["limits"]
            assert context["readOnlyRootFilesystem"] is not on_gpu


def test_the_settings_are_ones_the_server_reads(manifests: list[Manifest]) -> None:
    settings = one(manifests, "ConfigMap", f"{RELEASE}-settings")["data"]
    names = {PREFIX + name.upper() for name in Settings.model_fields}
    assert settings.keys() <= names
    read_settings(settings)
    variables = {variable["name"] for variable in server(manifests)["env"]}
    assert {v for v in variables if v.startswith(PREFIX)} <= names


def test_keys_come_from_secrets_alone(manifests: list[Manifest]) -> None:
    assert not [m for m in manifests if m["kind"] in ("Secret", "Namespace")]
    for template in pods(manifests).values():
        spec = template["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            for variable in container.get("env", []):
                if re.search("KEY|TOKEN", variable["name"]):
                    assert "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_selectors_find_their_pods(manifests: list[Manifest]) -> None:
    templates = pods(manifests).values()
    labels = [template["metadata"]["labels"] for template in templates]
    ports = {
        port["name"]
        for template in templates
        for container in template["spec"]["containers"]
        for port in container["ports"]
    }
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            assert any(spec["selector"].items() <= pod.items() for pod in labels)
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        if manifest["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            selector = (spec.get("selector") or spec["podSelector"])["matchLabels"]
            assert any(selector.items() <= pod.items() for pod in labels)


def test_egress_is_closed_unless_opened() -> None:
    closed = render(VARIANTS["cpu"])
    (dns,) = one(closed, "NetworkPolicy", RELEASE)["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53, 5353}
    _, public = one(render(), "NetworkPolicy", RELEASE)["spec"]["egress"]
    assert "169.254.0.0/16" in public["to"][0]["ipBlock"]["except"]
    _, mirror = one(render(VARIANTS["air-gapped"]), "NetworkPolicy", RELEASE)["spec"]["egress"]
    assert mirror["to"] == [{"ipBlock": {"cidr": "10.1.2.3/32"}}]


def test_models_outlive_the_release_where_they_are_shared() -> None:
    claim = one(render(VARIANTS["everything"]), "PersistentVolumeClaim", f"{RELEASE}-models")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    # 73.3 billion parameters in bfloat16.
    assert int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) > 137
    volumes = pods(render())[RELEASE]["spec"]["volumes"]
    (models,) = [volume for volume in volumes if volume["name"] == "models"]
    own = models["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert own["accessModes"] == ["ReadWriteOnce"], "an ordinary storage class has no other"


def test_models_are_read_only_and_compiled_kernels_are_each_pods_own() -> None:
    container = server(render(VARIANTS["everything"]))
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["models"]["readOnly"] is True
    variables = {v["name"]: v.get("value") for v in container["env"]}
    for name in ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "HOME"):
        assert str(variables[name]).startswith(mounts["cache"]["mountPath"])
    volumes = pods(render(VARIANTS["everything"]))[RELEASE]["spec"]["volumes"]
    assert "emptyDir" in next(volume for volume in volumes if volume["name"] == "cache")


def test_the_download_brings_what_the_server_opens() -> None:
    spec = pods(render(VARIANTS["everything"]))[RELEASE]["spec"]
    (download,) = spec["initContainers"]
    assert download["command"] == ["sdrpn", "download"]
    assert download["args"] == ["Qwen/Qwen2.5-VL-72B-Instruct", "hf://you/rpn-72b"]
    arguments = spec["containers"][0]["args"]
    assert arguments[:2] == ["/models/Qwen/Qwen2.5-VL-72B-Instruct", "--rpn=/models/you/rpn-72b"]
    mirror = pods(render(VARIANTS["air-gapped"]))[RELEASE]["spec"]["initContainers"][0]["env"]
    assert {"name": "HF_ENDPOINT", "value": "https://hub.example.com"} in mirror


def test_autoscalers_read_gauges_that_exist_and_scale_alike() -> None:
    gauges = {metrics.REQUESTS_INFLIGHT._name, metrics.REQUESTS_QUEUED._name}
    hpa = one(render(VARIANTS["everything"]), "HorizontalPodAutoscaler", RELEASE)["spec"]
    targets = {
        m["pods"]["metric"]["name"]: m["pods"]["target"]["averageValue"] for m in hpa["metrics"]
    }
    assert targets.keys() == gauges
    scaled = one(render(VARIANTS["keda"]), "ScaledObject", RELEASE)["spec"]
    for trigger in scaled["triggers"]:
        (gauge,) = re.findall(r"sdrpn_\w+", trigger["metadata"]["query"])
        assert trigger["metadata"]["threshold"] == targets[gauge]
        assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert hpa["behavior"] == scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    for deployment in (render(VARIANTS["everything"]), render(VARIANTS["keda"])):
        assert "replicas" not in one(deployment, "Deployment", RELEASE)["spec"]
    adapter = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())
    pattern = re.search('__name__=~"(.*?)"', adapter["rules"]["custom"][0]["seriesQuery"])
    assert pattern
    assert all(re.fullmatch(pattern[1], gauge) for gauge in gauges)


def test_monitoring_is_found_by_the_operators_labels() -> None:
    found = [m for m in render(VARIANTS["keda"]) if m["apiVersion"] == "monitoring.coreos.com/v1"]
    assert {m["kind"] for m in found} == {"ServiceMonitor", "PrometheusRule"}
    assert all(m["metadata"]["labels"]["release"] == "kube-prometheus-stack" for m in found)


# Times that are set in several places and must fit each other.


def settings_of(manifests: list[Manifest]) -> Settings:
    return read_settings(one(manifests, "ConfigMap", f"{RELEASE}-settings")["data"])


def nginx(manifests: list[Manifest]) -> dict[str, float]:
    """Times in the router's configuration, seconds by directive."""
    text = one(manifests, "ConfigMap", f"{RELEASE}-router")["data"]["nginx.conf"]
    return {name: float(value) for name, value in re.findall(r"(\w+) (\d+)s;", text)}


def test_what_was_accepted_is_answered_before_the_pod_ends(manifests: list[Manifest]) -> None:
    settings, spec = settings_of(manifests), pods(manifests)[RELEASE]["spec"]
    assert settings.drain_timeout >= settings.request_timeout
    pre_stop = server(manifests)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pre_stop + settings.drain_timeout + ENGINE_STOPS_WITHIN
    assert spec["terminationGracePeriodSeconds"] >= needed


def test_the_router_forgets_a_pod_before_it_drains() -> None:
    script = one(render(), "ConfigMap", f"{RELEASE}-router")["data"]["start.sh"]
    valid = re.search(r"valid=(\d+)s", script)
    assert valid
    pre_stop = server(render())["lifecycle"]["preStop"]["sleep"]["seconds"]
    # DNS, and the endpoints that DNS is made of: a second or two each.
    assert pre_stop >= int(valid[1]) + 5


def test_the_router_waits_longer_than_the_server() -> None:
    settings, times = settings_of(render()), nginx(render())
    assert times["proxy_read_timeout"] > settings.request_timeout
    assert times["proxy_next_upstream_timeout"] < settings.request_timeout
    assert times["worker_shutdown_timeout"] >= times["proxy_read_timeout"]
    router = pods(render())[f"{RELEASE}-router"]["spec"]
    pre_stop = router["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = router["terminationGracePeriodSeconds"]
    assert grace >= pre_stop + times["worker_shutdown_timeout"]


def test_the_routers_memory_holds_the_bodies_it_admits() -> None:
    text = one(render(), "ConfigMap", f"{RELEASE}-router")["data"]["nginx.conf"]
    large = int(next(iter(re.findall(r"limit_conn large_bodies (\d+)", text))))
    small = int(next(iter(re.findall(r"limit_conn small_bodies (\d+)", text))))
    buffer = int(next(iter(re.findall(r"client_body_buffer_size (\d+)m", text))))
    needed = 3 * (large * buffer + small * 2)  # MiB
    limit = pods(render())[f"{RELEASE}-router"]["spec"]["containers"][0]["resources"]["limits"]
    assert int(limit["memory"].removesuffix("Gi")) * 1024 > needed


def test_probes_allow_a_model_to_load_and_an_engine_to_be_busy(manifests: list[Manifest]) -> None:
    container = server(manifests)
    startup, live = container["startupProbe"], container["livenessProbe"]
    ready = container["readinessProbe"]
    deployment = one(manifests, "Deployment", RELEASE)["spec"]
    allowed = startup["periodSeconds"] * startup["failureThreshold"]
    assert allowed >= 10 * 60
    assert deployment["progressDeadlineSeconds"] > allowed
    assert min(startup["timeoutSeconds"], ready["timeoutSeconds"]) > READY_ANSWERS_WITHIN
    assert live["httpGet"]["path"] == "/health/live", "a busy engine must not be restarted"
    assert ready["httpGet"]["path"] == "/health/ready", "a draining replica must get no requests"
    assert live["periodSeconds"] * live["failureThreshold"] >= 60
    # Not ready is noticed while preStop still holds SIGTERM back.
    pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert ready["periodSeconds"] * ready["failureThreshold"] <= pre_stop


def test_a_replica_is_scaled_out_before_it_refuses() -> None:
    manifests = render(VARIANTS["everything"])
    hpa = one(manifests, "HorizontalPodAutoscaler", RELEASE)["spec"]
    (inflight,) = [
        m["pods"]["target"]["averageValue"]
        for m in hpa["metrics"]
        if m["pods"]["metric"]["name"] == "sdrpn_requests_inflight"
    ]
    assert int(inflight) < settings_of(manifests).max_inflight


def test_a_proxy_in_front_lets_pictures_and_streams_through() -> None:
    manifests = render(VARIANTS["everything"])
    annotations = one(manifests, "Ingress", RELEASE)["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "64m"
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    route = one(manifests, "HTTPRoute", RELEASE)["spec"]["rules"][0]
    seconds = settings_of(manifests).request_timeout
    assert float(route["timeouts"]["request"].removesuffix("s")) > seconds
    waits = annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]
    assert float(waits) > seconds
