"""How a request ended: the values of the metrics' labels `outcome` and `cause`."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The values of `sdrpn_requests_total{outcome=...}`."""

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
    """Refused by sdrpn; `sdrpn_rejections_total` has the cause."""


class Rejection(StrEnum):
    """Why a request was refused: the values of `sdrpn_rejections_total{cause=...}`."""

    BAD_REQUEST = "bad_request"
    """Any malformed request without a cause of its own, including a malformed `roi`."""
    BAD_PICTURE = "bad_picture"
    TOO_LARGE = "too_large"
    FETCH_REFUSED = "fetch_refused"
    """The URL of a picture has a scheme, host or address that sdrpn does not fetch."""
    FETCH_FAILED = "fetch_failed"
    UNAUTHORIZED = "unauthorized"
    BUSY = "busy"
    """The limit of requests in flight was reached."""
    DRAINING = "draining"
    TIMEOUT = "timeout"
