"""One request's `roi` options, completed by the defaults of the served RPN."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rpn_plugin.families import QWEN2_5_VL
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.regions.zoom_gate import ALWAYS_OPEN, ZoomGate
from server.api.errors import BadRoi
from server.api.roi_options import GateOptions, RoiOptions


@dataclass(frozen=True)
class RoiDefaults:
    """Defaults of the served RPN (its rpn_config.json) and limits of the served model.

    `rules` names those from a RoI map to regions; `threshold` None is theirs, relative to the peak.
    `enabled` holds for chats without a `roi` field. `max_view_tokens` is the most visual tokens
    that the model's image processor gives one picture; `image` says how its pictures become tokens.
    `gate` is the RPN's own, used by chats without `roi.gate` if `gate_default`. `learned_gate`:
    the RPN has a learned gate. `confidence`: the engine reports log-probabilities, so that pass 1
    can measure confidence.
    """

    threshold: float | None
    base_tokens: int
    crop_tokens: int
    max_view_tokens: int
    family: str = "qwen2_5_vl"
    rules: str = "sdrpn"
    image: ImageGrid = QWEN2_5_VL.image
    enabled: bool = True
    gate: ZoomGate = ALWAYS_OPEN
    gate_default: bool = True
    learned_gate: bool = False
    confidence: bool = True


@dataclass(frozen=True)
class RoiSettings:
    """One request's options with every default filled in; `image` is counted from 0."""

    enabled: bool
    image: int
    threshold: float | None
    max_regions: int
    gate: ZoomGate
    base_tokens: int
    crop_tokens: int
    boxes: tuple[tuple[float, float, float, float], ...]
    heatmap: bool
    family: str
    rules: str

    @classmethod
    def resolve(
        cls, options: RoiOptions | None, defaults: RoiDefaults, pictures: int
    ) -> RoiSettings:
        """The settings of a chat with that many `pictures`.

        Raises BadRoi for a budget over the model's limit, a picture index out of range, and a gate
        limit on a value that this server cannot compute.
        """
        options = options or RoiOptions(enabled=defaults.enabled)
        if not -pictures <= options.image < pictures:
            raise BadRoi(
                f"`roi.image` is {options.image}; the chat has {pictures} pictures", "image"
            )
        _check_budget("base_tokens", options.base_tokens, defaults)
        _check_budget("crop_tokens", options.crop_tokens, defaults)
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
            rules=defaults.rules,
        )


def _check_budget(field: str, tokens: int | None, defaults: RoiDefaults) -> None:
    if tokens is not None and tokens > defaults.max_view_tokens:
        limit = f"this model takes at most {defaults.max_view_tokens}"
        raise BadRoi(f"`roi.{field}` is {tokens}; {limit}", field)


def _gate(options: GateOptions | bool | None, defaults: RoiDefaults) -> ZoomGate:
    if isinstance(options, GateOptions):
        return _own_gate(options, defaults)
    use_rpn_gate = defaults.gate_default if options is None else options
    if not use_rpn_gate:
        return ALWAYS_OPEN
    return defaults.gate if defaults.confidence else replace(defaults.gate, max_confidence=None)


def _own_gate(options: GateOptions, defaults: RoiDefaults) -> ZoomGate:
    if options.min_gate_probability is not None and not defaults.learned_gate:
        raise BadRoi(
            "`roi.gate.min_gate_probability` is for a learned gate; this RPN has none",
            "gate.min_gate_probability",
        )
    if options.max_confidence is not None and not defaults.confidence:
        raise BadRoi(
            "`roi.gate.max_confidence` needs log-probabilities; this server's --logprobs-mode "
            "returns logits",
            "gate.max_confidence",
        )
    own = {"confidence_tokens": defaults.gate.confidence_tokens}
    return ZoomGate(**{**own, **options.model_dump(exclude_none=True)})
