"""Times that are set in several places and must fit each other, in every overlay."""

from __future__ import annotations

import re

import pytest

from server.routes import ENGINE_ANSWERS_WITHIN
from server.settings import Settings, read_settings
from tests.deploy.manifests import OVERLAYS, Manifest, one, pods

ENGINE_STOPS_WITHIN = 20
"""Seconds between the last answer and the end of the process."""

LOADS_WITHIN = 20 * 60
"""Seconds that a startup must be allowed: download, load, compile, warm up."""


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def settings(overlay: str) -> Settings:
    return read_settings(one(overlay, "ConfigMap", "sdrpn-settings")["data"])


@pytest.fixture
def server(overlay: str) -> Manifest:
    """The pod spec of the server."""
    found = pods(overlay)
    spec: Manifest = (found.get("sdrpn") or found["sdrpn-group-leader"])["spec"]
    return spec


@pytest.fixture
def nginx(overlay: str) -> dict[str, float]:
    """Times in the router's configuration, seconds by directive."""
    text = one(overlay, "ConfigMap", "sdrpn-router")["data"]["nginx.conf"]
    return {name: float(value) for name, value in re.findall(r"(\w+) (\d+)s;", text)}


def test_what_was_accepted_is_answered_before_the_drain_ends(settings: Settings) -> None:
    assert settings.drain_timeout >= settings.request_timeout


def test_the_grace_period_outlasts_pre_stop_and_drain(settings: Settings, server: Manifest) -> None:
    pre_stop = server["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pre_stop + settings.drain_timeout + ENGINE_STOPS_WITHIN
    assert server["terminationGracePeriodSeconds"] >= needed


def test_the_router_forgets_a_pod_before_it_drains(overlay: str, server: Manifest) -> None:
    pre_stop = server["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    text = one(overlay, "ConfigMap", "sdrpn-router")["data"]["replicas.conf"]
    known_for = re.search(r"valid=(\d+)s", text)
    assert known_for
    # DNS, and the endpoints that DNS is made of: a second or two each.
    assert pre_stop >= int(known_for[1]) + 5


def test_the_router_waits_longer_than_the_server(
    settings: Settings, nginx: dict[str, float]
) -> None:
    assert nginx["proxy_read_timeout"] > settings.request_timeout
    assert nginx["proxy_next_upstream_timeout"] < settings.request_timeout
    assert nginx["worker_shutdown_timeout"] >= nginx["proxy_read_timeout"]


def test_the_routers_own_grace_outlasts_its_requests(overlay: str, nginx: dict[str, float]) -> None:
    router = pods(overlay)["sdrpn-router"]["spec"]
    pre_stop = router["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pre_stop + nginx["worker_shutdown_timeout"]
    assert router["terminationGracePeriodSeconds"] >= needed


def test_probes_allow_a_model_to_load_and_an_engine_to_be_busy(server: Manifest) -> None:
    container = server["containers"][0]
    startup, live = container["startupProbe"], container["livenessProbe"]
    ready = container["readinessProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= LOADS_WITHIN
    # The server itself says "not ready" after ENGINE_ANSWERS_WITHIN.
    assert min(startup["timeoutSeconds"], ready["timeoutSeconds"]) > ENGINE_ANSWERS_WITHIN
    assert live["httpGet"]["path"] == "/health/live", "a busy engine must not be restarted"
    assert ready["httpGet"]["path"] == "/health/ready", "a draining replica must get no requests"
    assert live["periodSeconds"] * live["failureThreshold"] >= 60
    # Not ready is noticed while preStop still holds SIGTERM back.
    pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert ready["periodSeconds"] * ready["failureThreshold"] <= pre_stop


def test_a_rollout_is_given_time_to_load(overlay: str) -> None:
    if "sdrpn" not in pods(overlay):
        pytest.skip("no Deployment: several machines")
    spec = one(overlay, "Deployment", "sdrpn")["spec"]
    startup = spec["template"]["spec"]["containers"][0]["startupProbe"]
    allowed = startup["periodSeconds"] * startup["failureThreshold"]
    assert spec["progressDeadlineSeconds"] > allowed


def test_a_replica_is_scaled_out_before_it_refuses(settings: Settings) -> None:
    hpa = one("gpu", "HorizontalPodAutoscaler", "sdrpn")["spec"]
    inflight = next(
        m["pods"]["target"]["averageValue"]
        for m in hpa["metrics"]
        if m["pods"]["metric"]["name"] == "sdrpn_requests_inflight"
    )
    assert int(inflight) < settings.max_inflight
