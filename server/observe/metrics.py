"""Prometheus metrics of the two passes, on /metrics beside vLLM's own.

The metrics are in prometheus_client's default registry, which vLLM exposes. With several API
processes vLLM sets PROMETHEUS_MULTIPROC_DIR before they start, and /metrics has their sums. Every
label has few values, all listed here. Each series starts at 0, because a rate over a series that
appears with its first event misses that event.
"""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram

from rpn_plugin.images.decode import FORMATS
from server.api.outcomes import Outcome, Rejection

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SHARES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1)
_TOKENS = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_PIXELS = (1e4, 1e5, 2.5e5, 5e5, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6)
_FORMATS = {name: name.lower() for name in FORMATS} | {"MPO": "jpeg"}  # a JPEG of several frames
_COST_RATIOS = (1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 6, 10, 20)


class Pass(StrEnum):
    """The `pass` label."""

    FIRST = "1"
    SECOND = "2"


_REQUESTS = Counter("sdrpn_requests", "Chats and region requests, by outcome.", ["outcome"])
for _outcome in Outcome:
    _REQUESTS.labels(_outcome.value)

_REJECTIONS = Counter("sdrpn_rejections", "Requests that sdrpn refused, by cause.", ["cause"])
for _cause in Rejection:
    _REJECTIONS.labels(_cause.value)

REQUESTS_INFLIGHT = Gauge(
    "sdrpn_requests_inflight",
    "Requests in flight, in either pass or between them.",
    multiprocess_mode="livesum",
)
REQUESTS_QUEUED = Gauge(
    "sdrpn_requests_queued",
    "Requests that wait for memory or a thread to decode a picture.",
    multiprocess_mode="livesum",
)

QUEUE_SECONDS = Histogram(
    "sdrpn_queue_seconds",
    "Waiting for memory and for a thread to decode one picture.",
    buckets=_SECONDS,
)
FETCH_SECONDS = Histogram(
    "sdrpn_fetch_seconds", "Fetching one picture from its URL.", buckets=_SECONDS
)
PICTURES_SECONDS = Histogram(
    "sdrpn_pictures_seconds",
    "Decoding the pictures of a chat and making their base views, waiting included.",
    buckets=_SECONDS,
)
PASS1_SECONDS = Histogram(
    "sdrpn_pass1_seconds", "Pass 1: from the call of vLLM to the RoI map.", buckets=_SECONDS
)
RPN_SECONDS = Histogram(
    "sdrpn_rpn_seconds", "The RPN batch that a request's map was computed in.", buckets=_SECONDS
)
RPN_CACHED_TOKENS = Counter(
    "sdrpn_rpn_cached_tokens", "Prompt tokens that the RPN's prefix cache already held."
)
RPN_EVICTED_TOKENS = Counter(
    "sdrpn_rpn_evicted_tokens", "Tokens evicted from the RPN's prefix cache: is it too small?"
)
CROP_SECONDS = Histogram(
    "sdrpn_crop_seconds",
    "Cutting the crops of a chat and scaling them, waiting included.",
    buckets=_SECONDS,
)
PASS2_SECONDS = Histogram(
    "sdrpn_pass2_seconds",
    "Pass 2: from the call of vLLM to its first chunk (streaming) or its answer.",
    buckets=_SECONDS,
)

CROP_AREA_SHARE = Histogram(
    "sdrpn_crop_area_share", "Area of a crop over the area of its picture.", buckets=_SHARES
)
CROP_TOKENS = Histogram(
    "sdrpn_crop_tokens", "Visual tokens of all crops of a chat.", buckets=_TOKENS
)
_PROMPT_TOKENS = Histogram(
    "sdrpn_prompt_tokens", "Prompt tokens of one pass of a chat.", ["pass"], buckets=_TOKENS
)
_CACHED_TOKENS = Histogram(
    "sdrpn_cached_tokens",
    "Prompt tokens of one pass that the prefix cache already held.",
    ["pass"],
    buckets=_TOKENS,
)
for _pass in Pass:
    _PROMPT_TOKENS.labels(_pass.value)
    _CACHED_TOKENS.labels(_pass.value)
_ZOOM_EXTRA_COST = Histogram(
    "sdrpn_zoom_extra_cost_ratio",
    "Prompt tokens computed in both passes over those that the base view alone would have cost.",
    buckets=_COST_RATIOS,
)

PICTURE_PIXELS = Histogram(
    "sdrpn_picture_pixels", "Pixels of a picture as it was sent.", buckets=_PIXELS
)
_PICTURES = Counter("sdrpn_pictures", "Pictures read, by file format.", ["format"])
for _format in (*_FORMATS.values(), "other"):
    _PICTURES.labels(_format)

_BUILD_INFO = Gauge(
    "sdrpn_build_info",
    "Always 1; the labels say what is running.",
    ["version", "vllm_version", "family"],
    multiprocess_mode="max",
)


def count(outcome: Outcome) -> None:
    """Counts one request."""
    _REQUESTS.labels(outcome.value).inc()


def count_rejection(cause: Rejection) -> None:
    """Counts one refused request, under its cause and as a request."""
    _REJECTIONS.labels(cause.value).inc()
    count(Outcome.REJECTED)


def count_picture(format: str | None, size: tuple[int, int]) -> None:
    """Counts a picture of `size` = (width, height); `format` is Pillow's name for it."""
    _PICTURES.labels(_FORMATS.get(format or "", "other")).inc()
    PICTURE_PIXELS.observe(size[0] * size[1])


def observe_prompt(which: Pass, prompt_tokens: int, cached_tokens: int) -> None:
    """Records the prompt tokens of one pass, and how many of them were cached."""
    _PROMPT_TOKENS.labels(which.value).observe(prompt_tokens)
    _CACHED_TOKENS.labels(which.value).observe(cached_tokens)


def observe_zoom_cost(first_computed: int, second_computed: int) -> None:
    """Records the cost of pass 2 in uncached prompt tokens.

    Pass 1's prompt is the chat with its base view: its uncached tokens are what an answer from the
    base view alone costs. vLLM always computes at least the last token.
    """
    _ZOOM_EXTRA_COST.observe((first_computed + second_computed) / max(1, first_computed))


def set_build_info(version: str, vllm_version: str, family: str) -> None:
    """Sets the labels of `sdrpn_build_info`: versions of sdrpn and vLLM, and the model family."""
    _BUILD_INFO.labels(version, vllm_version, family).set(1)
