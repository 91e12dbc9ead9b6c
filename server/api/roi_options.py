"""The request's `roi` field: `false`, `true`, or an object with any of RoiOptions' fields.

Documented for users in docs/api.md.
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from server.api.errors import BadRoi

MAX_REGIONS = 8
"""Crops one chat may get; each costs up to `crop_tokens` prompt tokens."""

MAX_CONFIDENCE_TOKENS = 32
"""Answer tokens pass 1 may generate to measure confidence; each takes one engine step."""

Box = Annotated[list[FiniteFloat], Len(4, 4)]
"""[x0, y0, x1, y1], half-open, in pixels of the original picture turned upright."""

TokenBudget = Annotated[int, Field(ge=4)]

_RENAMED_GATE_FIELDS = {
    "peak": "min_peak",
    "area": "max_area",
    "sure": "max_confidence",
    "sure_tokens": "confidence_tokens",
    "need": "min_gate_probability",
}


class GateOptions(BaseModel):
    """The request's `roi.gate` object: the limits of `rpn_plugin.regions.zoom_gate.ZoomGate`.

    `confidence_tokens` left out takes the value of the RPN's own gate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    min_peak: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_area: Annotated[float, Field(ge=0, le=1)] = 1.0
    max_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    confidence_tokens: Annotated[int, Field(ge=1, le=MAX_CONFIDENCE_TOKENS)] | None = None
    min_gate_probability: Annotated[float, Field(ge=0, le=1)] | None = None


class RoiOptions(BaseModel):
    """The request's `roi` object. A field left out takes the served RPN's own default.

    `image` is the index of the picture to zoom, as in Python: 0 is the chat's first, -1 its last.
    `boxes` are regions of it chosen by the caller; pass 1 is then left out. `heatmap` adds the RoI
    map to the response.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    enabled: bool = True
    image: int = -1
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    max_regions: Annotated[int, Field(ge=1, le=MAX_REGIONS)] = 1
    gate: GateOptions | bool | None = None
    base_tokens: TokenBudget | None = None
    crop_tokens: TokenBudget | None = None
    boxes: Annotated[list[Box], Len(1, MAX_REGIONS)] | None = None
    heatmap: bool = False


def parse_roi(value: Any) -> RoiOptions | None:
    """The options in the `roi` field of a request; None if the field is absent or null.

    Raises BadRoi, which names the faulty field.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return RoiOptions(enabled=value)
    if not isinstance(value, dict):
        raise BadRoi(f"`roi` is true, false or an object, not {type(value).__name__}")
    try:
        options = RoiOptions.model_validate(value)
    except ValidationError as error:
        raise _field_error(error) from error
    for box in options.boxes or ():
        _check_order(box)
    return options


def _field_error(error: ValidationError) -> BadRoi:
    first = error.errors(include_url=False, include_context=False)[0]
    # For a field of several types, pydantic's path holds the name of the type it tried first.
    path = [str(step) for step in first["loc"] if step != GateOptions.__name__]
    field = ".".join(path)
    if first["type"] != "extra_forbidden":
        return BadRoi(f"`roi.{field}`: {first['msg']}", field)
    in_gate = path[0] == "gate"
    if in_gate and (new_name := _RENAMED_GATE_FIELDS.get(path[-1])):
        return BadRoi(f"`roi.{field}` has a new name: `roi.gate.{new_name}`", field)
    valid = ", ".join((GateOptions if in_gate else RoiOptions).model_fields)
    return BadRoi(f"unknown key {field!r} in `roi`; valid keys: {valid}", field)


def _check_order(box: list[float]) -> None:
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise BadRoi(f"`roi.boxes` are [x0, y0, x1, y1] with 0 <= x0 < x1, y0 < y1: {box}", "boxes")
