"""The response's `roi` object: which regions pass 1 proposed, and what it cost to find them.

Documented for users in docs/api.md.
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer, model_validator

_RENAMED_FIELDS = {"sure": "confidence", "need": "gate_probability"}


class RegionReport(BaseModel):
    """A region in the response: `box` in pixels of the original, `score` in (0, 1].

    Boxes given by the caller are reported unchanged, with score 1.
    """

    box: Annotated[list[int | float], Len(4, 4)]
    score: float

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """`box` as a tuple."""
        x0, y0, x1, y1 = self.box
        return x0, y0, x1, y1


class PassUsage(BaseModel):
    """Prompt tokens of pass 1, and how many of them the prefix cache held.

    `cached_tokens` is null unless the server runs with `--enable-prompt-tokens-details`.
    """

    prompt_tokens: int
    cached_tokens: int | None


class RoiReport(BaseModel):
    """The response's `roi` object.

    `image` is the index of the zoomed picture in the chat, counted from 0. `image_size` is
    [width, height] of the original picture in pixels; `grid` is [rows, cols] of its base view in
    visual tokens. All three are null if the chat has no picture. `skipped` says why the answer
    rests on the base views alone: "off", "no_region", "gate", "detail_low", "context_length",
    "no_picture" or "error: ..."; null if it has a crop. `timings` are milliseconds of the steps
    that took place: `pictures` (decoding and base views), `pass1`, `rpn` (the RPN's part of pass
    1), `crop`. `pass1_usage` is null if pass 1 did not run; the response's own `usage` is that of
    pass 2. `confidence` is the lowest probability among the first tokens of the base view's answer,
    `gate_probability` the learned gate's output; both are present only if the gate used them.
    `heatmap`, present only on request, is the RoI map: [rows][cols] probabilities.
    """

    regions: list[RegionReport]
    image: int | None
    image_size: tuple[int, int] | None
    grid: tuple[int, int] | None
    skipped: str | None
    timings: dict[str, float]
    pass1_usage: PassUsage | None = None
    confidence: float | None = None
    gate_probability: float | None = None
    heatmap: list[list[float]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_names(cls, fields: Any) -> Any:
        for old, new in _RENAMED_FIELDS.items():
            if isinstance(fields, dict) and old in fields:
                raise ValueError(f"`roi.{old}` has a new name: `roi.{new}`")
        return fields

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        for name in ("confidence", "gate_probability", "heatmap"):
            if getattr(self, name) is None:
                fields.pop(name, None)
        return fields


NO_PICTURE = RoiReport(
    regions=[], image=None, image_size=None, grid=None, skipped="no_picture", timings={}
)
"""The report of a chat that turns `roi` on and has no picture."""
