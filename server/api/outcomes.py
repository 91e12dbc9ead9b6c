"""How a request ended: the values of the `outcome` and `cause` labels of our metrics."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a request fared: the values of `sdrpn_requests_total{outcome=...}`."""

    REGION_FOUND = "region_found"
    """Answered from the base views and the crops of at least one region."""
    NO_REGION = "no_region"
    GATED = "gated"
    """There was a region, but the gate (`roi.gate`) closed."""
    BOXES_GIVEN = "boxes_given"
    """The caller chose the regions (`roi.boxes`)."""
    CROPS_REFUSED = "crops_refused"
    """vLLM refused the chat with its crops; the chat was answered from its base views."""
    OFF = "off"
    ERROR = "error"
    """The engine made no map; the chat was answered from its base views."""
    TEXT_ONLY = "text_only"
    REJECTED = "rejected"
    """Refused by sdrpn; `sdrpn_rejections_total` says why."""


class Rejection(StrEnum):
    """Why a request was refused: the values of `sdrpn_rejections_total{cause=...}`."""

    BAD_REQUEST = "bad_request"
    """Malformed in any way that has no cause of its own, the `roi` field included."""
    BAD_PICTURE = "bad_picture"
    TOO_LARGE = "too_large"
    FETCH_REFUSED = "fetch_refused"
    """A picture's URL that sdrpn does not fetch: its host, address or scheme."""
    FETCH_FAILED = "fetch_failed"
    UNAUTHORIZED = "unauthorized"
    BUSY = "busy"
    """The queue was full."""
    DRAINING = "draining"
    TIMEOUT = "timeout"
