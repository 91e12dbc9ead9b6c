"""Writes dashboard.json, the Grafana dashboard: `python deploy/prometheus/dashboard.py`.

What is shown stands in PANELS, a row of panels a line of thought; the rest is Grafana's format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "chart" / "files" / "dashboard.json"
_ROW_WIDTH, _HEIGHT = 24, 8


@dataclass(frozen=True)
class Panel:
    """A graph over time: `queries` maps each legend to what is asked of Prometheus."""

    title: str
    unit: str
    queries: dict[str, str]
    about: str = ""
    stacked: bool = False
    elsewhere: bool = False
    """Whether its series need another exporter or the rules: not the server alone."""


def rate(metric: str, by: str = "") -> str:
    """`metric` per second, of the services chosen, by a label or in all."""
    name, _, labels = metric.partition("{")
    selector = ",".join(filter(None, ['namespace=~"$namespace"', labels.removesuffix("}")]))
    return f"sum{f' by ({by})' if by else ''} (rate({name}{{{selector}}}[$__rate_interval]))"


def quantiles(metric: str) -> dict[str, str]:
    """Median and 95th percentile of a histogram."""
    buckets = rate(f"{metric}_bucket", by="le")
    return {f"p{int(q * 100)}": f"histogram_quantile({q}, {buckets})" for q in (0.5, 0.95)}


def ratio(part: str, whole: str) -> str:
    """One rate over another."""
    return f"{rate(part)} / {rate(whole)}"


def seconds(step: str) -> str:
    """Seconds spent in a step, per second, over all requests."""
    return rate(f"sdrpn_{step}_seconds_sum")


def gauge(metric: str, over: str = "sum") -> str:
    """A gauge over the replicas chosen: their sum, or their maximum."""
    return f'{over} ({metric}{{namespace=~"$namespace"}})'


def by_replica(metric: str) -> str:
    """A gauge of each replica."""
    return f'max by (pod) ({metric}{{namespace=~"$namespace"}})'


def objective(which: str, window: str) -> str:
    """A recorded share of bad requests (deploy/chart/files/rules.yaml)."""
    return f'sdrpn:{which}:ratio_rate{window}{{namespace=~"$namespace"}}'


_GATED = 'sdrpn_requests_total{outcome="gated"}'
_FOUND = 'sdrpn_requests_total{outcome=~"region_found|gated"}'
_MAPPED = 'sdrpn_requests_total{outcome=~"region_found|gated|no_region|error"}'
_CACHED, _READ = "sdrpn_cached_tokens_sum", "sdrpn_prompt_tokens_sum"
_PASS_1, _PASS_2 = '{pass="1"}', '{pass="2"}'
_COST = "sdrpn_zoom_extra_cost_ratio"

PANELS: dict[str, list[Panel]] = {
    "Traffic": [
        Panel(
            "Requests by outcome",
            "reqps",
            {"{{outcome}}": rate("sdrpn_requests_total", by="outcome")},
            "region_found: zoomed. no_region: nothing above the threshold. gated: skipped by the "
            "gate. crops_refused: vLLM refused the crops. error: no RoI map. off, boxes_given, "
            "text_only: no first pass was needed.",
            stacked=True,
        ),
        Panel(
            "Rejections by cause",
            "reqps",
            {"{{cause}}": rate("sdrpn_rejections_total", by="cause")},
            stacked=True,
        ),
        Panel(
            "In flight, queued",
            "short",
            {
                "in flight": gauge("sdrpn_requests_inflight"),
                "queued before the engine": gauge("sdrpn_requests_queued"),
                "waiting in vLLM": gauge("vllm:num_requests_waiting"),
            },
            "The autoscaler follows the first two.",
        ),
    ],
    "What clients get": [
        Panel(
            "End-to-end latency",
            "s",
            quantiles("sdrpn_request_seconds"),
            "From arrival to the last byte, both passes. vLLM's own histograms count each pass.",
        ),
        Panel("Time to the first chunk", "s", quantiles("sdrpn_first_chunk_seconds")),
        Panel(
            "Answers by status",
            "reqps",
            {"{{status}}": rate("sdrpn_responses_total", by="status")},
            "A replica's 429 and 503 are passed on to another one by the router.",
            stacked=True,
        ),
        Panel(
            "Router: answers by status",
            "reqps",
            {"{{status}}": rate("sdrpn_router_http_response_count_total", by="status")},
            stacked=True,
            elsewhere=True,
        ),
        Panel(
            "Error budget: share of server errors",
            "percentunit",
            {"1 hour": objective("errors", "1h"), "6 hours": objective("errors", "6h")},
            "The objective is 0.5 %.",
            elsewhere=True,
        ),
    ],
    "Replicas": [
        Panel(
            "In flight, by replica",
            "short",
            {"{{pod}}": by_replica("sdrpn_requests_inflight")},
        ),
        Panel(
            "KV cache, by replica",
            "percentunit",
            {"{{pod}}": by_replica("vllm:kv_cache_usage_perc")},
        ),
        Panel(
            "GPU utilisation",
            "percent",
            {"{{pod}} {{gpu}}": 'DCGM_FI_DEV_GPU_UTIL{exported_namespace=~"$namespace"}'},
            "From NVIDIA's DCGM exporter.",
            elsewhere=True,
        ),
        Panel(
            "GPU memory used",
            "decmbytes",
            {"{{pod}} {{gpu}}": 'DCGM_FI_DEV_FB_USED{exported_namespace=~"$namespace"}'},
            elsewhere=True,
        ),
    ],
    "Latency of the steps": [
        Panel("Pass 1", "s", quantiles("sdrpn_pass1_seconds")),
        Panel("Pass 2, to its first chunk or answer", "s", quantiles("sdrpn_pass2_seconds")),
        Panel(
            "Where the time goes",
            "s",
            {
                "queue": seconds("queue"),
                "fetch": seconds("fetch"),
                "decoding, base views": f"clamp_min({seconds('pictures')} - {seconds('queue')} "
                f"- {seconds('fetch')}, 0)",
                **{step: seconds(step) for step in ("pass1", "crop", "pass2")},
            },
            "Seconds spent in each step, per second, over all requests.",
            stacked=True,
        ),
    ],
    "Zoom": [
        Panel(
            "Regions, of the chats with a RoI map",
            "percentunit",
            {
                "found": ratio(_FOUND, _MAPPED),
                "found, and skipped by the gate": ratio(_GATED, _MAPPED),
            },
        ),
        Panel(
            "Cached share of the prompt",
            "percentunit",
            {
                "pass 1": ratio(f"{_CACHED}{_PASS_1}", f"{_READ}{_PASS_1}"),
                "pass 2": ratio(f"{_CACHED}{_PASS_2}", f"{_READ}{_PASS_2}"),
            },
            "Pass 2 begins with pass 1's prompt: most of it should be cached.",
        ),
        Panel(
            "Extra cost of zooming",
            "short",
            {
                "mean": ratio(f"{_COST}_sum", f"{_COST}_count"),
                **quantiles(_COST),
            },
            "Prompt tokens computed, over those of the base view alone: 1.3 is 30 % more.",
        ),
        Panel(
            "Crops",
            "short",
            {"tokens, mean": ratio("sdrpn_crop_tokens_sum", "sdrpn_crop_tokens_count")},
        ),
        Panel(
            "Crop, of its picture's area",
            "percentunit",
            quantiles("sdrpn_crop_area_share"),
        ),
        Panel("RPN", "s", quantiles("sdrpn_rpn_seconds")),
    ],
    "Pictures": [
        Panel(
            "Pictures by format",
            "short",
            {"{{format}}": rate("sdrpn_pictures_total", by="format")},
            stacked=True,
        ),
        Panel("Pixels of a picture", "short", quantiles("sdrpn_picture_pixels")),
        Panel("Decoding and base views", "s", quantiles("sdrpn_pictures_seconds")),
    ],
    "Engine": [
        Panel(
            "KV cache in use",
            "percentunit",
            {"fullest replica": gauge("vllm:kv_cache_usage_perc", "max")},
        ),
        Panel(
            "Tokens",
            "short",
            {
                "prompt": rate("vllm:prompt_tokens_total"),
                "generated": rate("vllm:generation_tokens_total"),
            },
        ),
        Panel(
            "What runs",
            "short",
            {
                "sdrpn {{version}}, vLLM {{vllm_version}}, {{family}}": "sum by (version, "
                'vllm_version, family) (sdrpn_build_info{namespace=~"$namespace"})'
            },
            "Replicas by version: two lines are a rollout.",
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's format."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in PANELS.items():
        panels.append(_row(title, top))
        top += 1
        for place, panel in enumerate(row):
            column, line = place % 3, place // 3
            at = {"x": column * 8, "y": top + line * _HEIGHT, "w": _ROW_WIDTH // 3, "h": _HEIGHT}
            panels.append(_graph(panel, at))
        top += _HEIGHT * -(-len(row) // 3)
    for number, panel_json in enumerate(panels, start=1):
        panel_json["id"] = number
    return {
        "uid": "sdrpn",
        "title": "sdrpn",
        "tags": ["sdrpn", "vllm"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_data_source(), _namespace()]},
        "panels": panels,
    }


def _row(title: str, top: int) -> dict[str, Any]:
    return {
        "type": "row",
        "title": title,
        "gridPos": {"x": 0, "y": top, "w": _ROW_WIDTH, "h": 1},
        "panels": [],
    }


def _graph(panel: Panel, at: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    style = {"lineWidth": 1, "fillOpacity": 25 if panel.stacked else 0}
    if panel.stacked:
        style |= {"stacking": {"mode": "normal"}}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": source,
        "gridPos": at,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": style},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": source,
                "expr": query,
                "legendFormat": legend,
            }
            for n, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}


def _namespace() -> dict[str, Any]:
    return {
        "name": "namespace",
        "type": "query",
        "label": "Namespace",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": "label_values(sdrpn_build_info, namespace)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(dashboard(), indent=1) + "\n")
