"""The `roi` field: what a request may say about regions, and what a response says about them.

Request: `false`, `true`, or an object with any of RoiOptions' fields. Response: RoiReport. Both are
documented for users in docs/api.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Len
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from rpn_plugin.families import QWEN2_5_VL
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.regions.zoom_gate import ALWAYS_OPEN, ZoomGate
from server.api.errors import BadRoi

MAX_REGIONS = 8
"""Crops one chat may get; each costs up to `crop_tokens` prompt tokens."""

MAX_CONFIDENCE_TOKENS = 32
"""Tokens pass 1 may answer to show how sure the model is; each takes a step of the engine."""

Box = Annotated[list[FiniteFloat], Len(4, 4)]
"""[x0, y0, x1, y1], half-open, in pixels of the original picture turned upright."""

TokenBudget = Annotated[int, Field(ge=4)]


class GateOptions(BaseModel):
    """The request's `roi.gate` object: the limits of `rpn_plugin.regions.zoom_gate.ZoomGate`.

    Without `confidence_tokens`, as many tokens are read as the RPN's own gate reads.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    min_peak: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_area: Annotated[float, Field(ge=0, le=1)] = 1.0
    max_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    confidence_tokens: Annotated[int, Field(ge=1, le=MAX_CONFIDENCE_TOKENS)] | None = None
    min_gate_probability: Annotated[float, Field(ge=0, le=1)] | None = None


class RoiOptions(BaseModel):
    """The request's `roi` object. A field left out takes the served RPN's own default.

    `image` is the picture to look at twice, counted as Python counts: 0 is the chat's first, -1 its
    last. `boxes` are regions of it chosen by the caller: with them there is no pass 1. `heatmap`
    adds the RoI map to the response.
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


@dataclass(frozen=True)
class RoiDefaults:
    """What the served RPN does unless a request says otherwise (its rpn_config.json).

    `enabled` is for chats that say nothing of `roi` at all. `max_view_tokens` is a limit, not a
    default: what the model's own image processor allows one picture. It would scale anything larger
    down again. `image`: how the model's pictures become tokens. `gate` is the RPN's own, which
    chats that say nothing of a gate go through if `gate_default`; `learned_gate`: whether it has
    one that can be asked.
    """

    threshold: float
    base_tokens: int
    crop_tokens: int
    max_view_tokens: int
    family: str = "qwen2_5_vl"
    image: ImageGrid = QWEN2_5_VL.image
    enabled: bool = True
    gate: ZoomGate = ALWAYS_OPEN
    gate_default: bool = True
    learned_gate: bool = False


@dataclass(frozen=True)
class RoiSettings:
    """One request's options with every default filled in."""

    enabled: bool
    image: int
    threshold: float
    max_regions: int
    gate: ZoomGate
    base_tokens: int
    crop_tokens: int
    boxes: tuple[tuple[float, float, float, float], ...]
    heatmap: bool
    family: str

    @classmethod
    def of(cls, asked: RoiOptions | None, defaults: RoiDefaults, pictures: int) -> RoiSettings:
        """What was `asked` for a chat of so many `pictures`, completed by `defaults`.

        Raises BadRoi for a budget over the model's limit, for a picture and for a learned gate
        that are not there.
        """
        options = asked or RoiOptions(enabled=defaults.enabled)
        if not -pictures <= options.image < pictures:
            raise BadRoi(
                f"`roi.image` is {options.image}; the chat has {pictures} pictures", "image"
            )
        for field, tokens in [
            ("base_tokens", options.base_tokens),
            ("crop_tokens", options.crop_tokens),
        ]:
            if tokens is not None and tokens > defaults.max_view_tokens:
                limit = f"this model takes at most {defaults.max_view_tokens}"
                raise BadRoi(f"`roi.{field}` is {tokens}; {limit}", field)
        return cls(
            enabled=options.enabled,
            image=options.image % pictures,
            threshold=defaults.threshold if options.threshold is None else options.threshold,
            max_regions=options.max_regions,
            gate=_gate(options.gate, defaults),
            base_tokens=options.base_tokens or defaults.base_tokens,
            crop_tokens=options.crop_tokens or defaults.crop_tokens,
            boxes=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in options.boxes or ()),
            heatmap=options.heatmap,
            family=defaults.family,
        )


def _gate(asked: GateOptions | bool | None, defaults: RoiDefaults) -> ZoomGate:
    if isinstance(asked, GateOptions):
        if asked.min_gate_probability is not None and not defaults.learned_gate:
            raise BadRoi(
                "`roi.gate.min_gate_probability` is for a learned gate; this RPN has none",
                "gate.min_gate_probability",
            )
        own = {"confidence_tokens": defaults.gate.confidence_tokens}
        return ZoomGate(**{**own, **asked.model_dump(exclude_none=True)})
    return defaults.gate if (defaults.gate_default if asked is None else asked) else ALWAYS_OPEN


class RegionReport(BaseModel):
    """A region in the response: `box` in pixels of the original, `score` in (0, 1].

    Boxes given by the caller come back as they were given, with score 1.
    """

    box: Annotated[list[int | float], Len(4, 4)]
    score: float

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """`box` as a tuple."""
        x0, y0, x1, y1 = self.box
        return x0, y0, x1, y1


class PassUsage(BaseModel):
    """Prompt tokens pass 1 read, and how many of them the prefix cache already held.

    `cached_tokens` is null unless the server runs with `--enable-prompt-tokens-details`.
    """

    prompt_tokens: int
    cached_tokens: int | None


class RoiReport(BaseModel):
    """The response's `roi` object.

    `image` is the place in the chat, counted from 0, of the picture all this is about. `image_size`
    is [width, height] of the original picture in pixels; `grid` is [rows, cols] of the
    base view in visual tokens. `skipped` says why the answer rests on the base view alone: null
    (it does not), "off", "no_region", "gate" or "error: ...". `timings` are milliseconds of the
    steps that took place: `pictures` (decoding and base views), `pass1`, `rpn` (the part of pass 1
    the RPN took), `crop`. `pass1_usage` is null where pass 1 did not run; the response's own
    `usage` is that of pass 2 alone.
    `confidence` and `gate_probability`, there only if the gate asked for them, are the least
    probability of the first tokens of the base view's answer, and the learned gate's that a
    second look is needed.
    `heatmap`, there only when asked for and made, is the RoI map: [rows][cols] probabilities.
    """

    regions: list[RegionReport]
    image: int
    image_size: tuple[int, int]
    grid: tuple[int, int]
    skipped: str | None
    timings: dict[str, float]
    pass1_usage: PassUsage | None = None
    confidence: float | None = None
    gate_probability: float | None = None
    heatmap: list[list[float]] | None = None

    @model_serializer(mode="wrap")
    def _without_what_was_not_asked_for(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        for name in ("confidence", "gate_probability", "heatmap"):
            if getattr(self, name) is None:
                fields.pop(name, None)
        return fields


def parse_roi(value: Any) -> RoiOptions | None:
    """The `roi` field of a request's JSON; None where the request leaves it open (absent, null).

    Raises BadRoi naming the field at fault.
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
        raise _bad_field(error) from error
    for box in options.boxes or ():
        _check_order(box)
    return options


def _bad_field(error: ValidationError) -> BadRoi:
    first = error.errors(include_url=False, include_context=False)[0]
    # Where a field is one of several types, pydantic names the type it tried first.
    field = ".".join(str(step) for step in first["loc"] if step != GateOptions.__name__)
    if first["type"] == "extra_forbidden":
        owner = GateOptions if first["loc"][0] == "gate" else RoiOptions
        known = ", ".join(owner.model_fields)
        return BadRoi(f"unknown key {field!r} in `roi`; known: {known}", field)
    return BadRoi(f"`roi.{field}`: {first['msg']}", field)


def _check_order(box: list[float]) -> None:
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise BadRoi(f"`roi.boxes` are [x0, y0, x1, y1] with 0 <= x0 < x1, y0 < y1: {box}", "boxes")
