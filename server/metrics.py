"""What Prometheus learns about the two passes, on /metrics beside vLLM's own figures.

The metrics live in prometheus_client's default registry, which vLLM exposes; with several API
processes vLLM sets PROMETHEUS_MULTIPROC_DIR before any of them starts, and the sums are theirs.
"""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import Counter, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SHARES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1)


class Outcome(StrEnum):
    """How a request fared: the values of `sdrpn_requests_total{outcome=...}`."""

    REGION_FOUND = "region_found"
    NO_REGION = "no_region"
    BOXES_GIVEN = "boxes_given"
    OFF = "off"
    ERROR = "error"
    """The engine made no map; the chat was answered from its base view."""
    TEXT_ONLY = "text_only"
    REJECTED = "rejected"
    """Bad input, refused by sdrpn."""


_REQUESTS = Counter("sdrpn_requests", "Chats and region requests, by outcome.", ["outcome"])
for _outcome in Outcome:
    _REQUESTS.labels(_outcome.value)

PASS1_SECONDS = Histogram(
    "sdrpn_pass1_seconds", "Pass 1: from asking vLLM to the RoI map.", buckets=_SECONDS
)
RPN_SECONDS = Histogram(
    "sdrpn_rpn_seconds", "The RPN batch that a request's map was computed in.", buckets=_SECONDS
)
PASS2_SECONDS = Histogram(
    "sdrpn_pass2_seconds",
    "Pass 2: from asking vLLM to its first chunk (streaming) or its answer.",
    buckets=_SECONDS,
)
PICTURES_SECONDS = Histogram(
    "sdrpn_pictures_seconds",
    "Decoding the pictures of a chat and making their base views, waiting included.",
    buckets=_SECONDS,
)
CROP_AREA_SHARE = Histogram(
    "sdrpn_crop_area_share", "Area of a crop over the area of its picture.", buckets=_SHARES
)


def count(outcome: Outcome) -> None:
    """Counts one request."""
    _REQUESTS.labels(outcome.value).inc()
