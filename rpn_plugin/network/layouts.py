"""The layouts of the checkpoints that the RPN's authors release: where flags and tensors are.

Three releases: SD-RPN, Q-Zoom (with a gate) and Vision-RL2 (other rules). The RPN is `twig_layers`
beside the language model's layers, the gate `high_res_layers` and `high_res_head`. Older
configurations are flat; newer ones have a `text_config`, which may be the only place of the flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rpn_plugin.families import family_of_architecture
from rpn_plugin.network.config import RpnConfig

_LANGUAGE_MODELS = ("model.", "model.language_model.")
_RPN_PARTS = {"twig_layers.": "layers.", "twig_norm.": "score_norm."}
_GATE_PARTS = {"high_res_layers.": "layers.", "high_res_head.": "head."}
_MIN_PROBABILITY = 0.1
"""Q-Zoom's threshold where its configuration names none (the default of its model class)."""

_NOT_SUPPORTED = {
    "Qwen3_5ForConditionalGeneration": "Qwen3.5: its RPN's attention has an output gate and "
    "(1 + w) norms, which sdrpn does not compute yet",
    "Gemma4UnifiedForConditionalGeneration": "Gemma-4: its RPN was trained on states of a picture "
    "whose tokens attend to each other in every layer, which vLLM does not compute",
}


def flags_of(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    """A `config.json` with the flags of its `text_config` beside those at the top, which win."""
    return {**(hf_config.get("text_config") or {}), **hf_config}


def holds_rpn(hf_config: Mapping[str, Any]) -> bool:
    """Whether a model with this `config.json` is released with an RPN."""
    return bool(flags_of(hf_config).get("enable_twig"))


def released_config(hf_config: Mapping[str, Any]) -> RpnConfig:
    """The RPN of a released model with this `config.json`.

    ValueError, KeyError or TypeError for one that sdrpn does not serve as it was released.
    """
    flags = flags_of(hf_config)
    if not flags.get("enable_twig"):
        raise ValueError("a plain model: enable_twig is not set")
    architecture = next(iter(hf_config.get("architectures") or ["none"]))
    family = family_of_architecture(architecture)
    if family is None:
        reason = _NOT_SUPPORTED.get(architecture, "sdrpn has no family for it")
        raise ValueError(f"RPNs for architecture {architecture} are not supported ({reason})")
    if flags.get("reuse_src_pos"):
        raise ValueError(
            "reuse_src_pos is not supported: crops get positions of their own, not ones between "
            "the base view's; set it to false to serve this RPN so"
        )
    tap_layer, depth = int(flags["twig_K"]), int(flags["twig_T"])
    return RpnConfig.for_model(
        hf_config,
        tap_layer=tap_layer,
        depth=depth,
        family=family,
        **_gate(flags, tap_layer, depth),
        **_rules(flags),
    )


def rpn_prefixes() -> dict[str, str]:
    """The beginnings of the RPN's tensor names in releases, and what they are in ours."""
    return _prefixes(_RPN_PARTS)


def gate_prefixes() -> dict[str, str]:
    """The same of the gate's tensors."""
    return _prefixes(_GATE_PARTS)


def layers_of_model(names: Iterable[str]) -> set[int]:
    """The numbers of the language model's own layers among tensor names."""
    starts = tuple(f"{model}layers." for model in _LANGUAGE_MODELS)
    return {
        int(name.removeprefix(start).split(".", 1)[0])
        for name in names
        for start in starts
        if name.startswith(start)
    }


def is_published_rpn_tensor(name: str) -> bool:
    """Whether a tensor of a published model belongs to the RPN or its gate, not to the model."""
    return any(part in name for part in ("twig_", "high_res_layers.", "high_res_head."))


def _prefixes(parts: Mapping[str, str]) -> dict[str, str]:
    return {f"{model}{part}": own for model in _LANGUAGE_MODELS for part, own in parts.items()}


def _gate(flags: Mapping[str, Any], tap_layer: int, depth: int) -> dict[str, Any]:
    """Q-Zoom's gate, which begins where the RPN begins unless the configuration says otherwise.

    ValueError for one that begins elsewhere: there is one tap.
    """
    if not flags.get("enable_high_res"):
        return {}
    begins = int(flags.get("high_res_K", tap_layer))
    if begins != tap_layer:
        raise ValueError(
            f"the gate reads the states after layer {begins} (high_res_K), the RPN those after "
            f"layer {tap_layer} (twig_K); both must read the same"
        )
    limit = float(flags.get("high_res_thresh", _MIN_PROBABILITY))
    return {"gate_layers": int(flags.get("high_res_T", depth)), "gate_min_probability": limit}


def _rules(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The rules that a release was evaluated with."""
    if flags.get("return_per_head_score"):
        return {"rules": "visionrl2", "threshold": None}
    return {"rules": "qzoom"} if flags.get("enable_high_res") else {}
