"""Flags of vLLM's server that have no effect, or break something, under sdrpn, with the reason."""

from __future__ import annotations

import argparse

_OTHER_LAUNCHER = "sdrpn serve starts one API server; give {flag} to plain `vllm serve` only"
_BALANCER = "the load balancing of {flag} is not supported; --data-parallel-size N is"
_CLOSED = "the routes of {flag} are not served"
_CONNECTOR = "{flag} needs the KV connector that carries RoI maps"
_POOLING = "{flag} is for models that do not generate text"
_PARALLEL = "{flag} is not supported by the RPN; use --tensor-parallel-size"
_PICTURES = "{flag} has no effect: sdrpn reads the pictures itself"

REFUSED: dict[str, str] = {
    "headless": _OTHER_LAUNCHER,
    "api_server_count": _OTHER_LAUNCHER,
    "grpc": _OTHER_LAUNCHER,
    "grpc_port": _OTHER_LAUNCHER,
    "data_parallel_hybrid_lb": _BALANCER,
    "data_parallel_external_lb": _BALANCER,
    "data_parallel_multi_port_external_lb": _BALANCER,
    "data_parallel_rank": _BALANCER,
    "data_parallel_start_rank": _BALANCER,
    "data_parallel_supervisor_port": _BALANCER,
    "dp_supervisor_probe_interval_s": _BALANCER,
    "dp_supervisor_probe_timeout_s": _BALANCER,
    "dp_supervisor_probe_failure_threshold": _BALANCER,
    "pipeline_parallel_size": _PARALLEL,
    "decode_context_parallel_size": _PARALLEL,
    "prefill_context_parallel_size": _PARALLEL,
    "enable_dbo": "{flag} is not supported by the RPN",
    "ubatch_size": "{flag} is not supported by the RPN",
    "kv_offloading_size": _CONNECTOR,
    "kv_offloading_backend": _CONNECTOR,
    "tokens_only": _CLOSED,
    "enable_scale_out": _CLOSED,
    "enable_tokenizer_info_endpoint": _CLOSED,
    "enable_offline_docs": _CLOSED,
    "enable_sleep_mode": _CLOSED,
    "enable_elastic_ep": _CLOSED,
    "profiler_config": _CLOSED,
    "weight_transfer_config": _CLOSED,
    "runner": _POOLING,
    "convert": _POOLING,
    "pooler_config": _POOLING,
    "io_processor_plugin": _POOLING,
    "max_lora_cls_labels": _POOLING,
    "enable_flash_late_interaction": _POOLING,
    "language_model_only": "{flag} serves no pictures",
    "mm_encoder_only": "{flag} serves no text",
    "skip_tokenizer_init": "sdrpn needs the tokenizer that {flag} leaves out",
    "model_impl": "{flag} replaces the model class that the RPN needs",
    "model_class_overrides": "{flag} replaces the model class that the RPN needs",
    "ec_transfer_config": "{flag} is not supported: the RPN needs the encoder in its own engine",
    "enable_mm_embeds": _PICTURES,
    "media_io_kwargs": _PICTURES,
    "allowed_local_media_path": _PICTURES + "; use --media-folder",
    "allowed_media_domains": _PICTURES + "; use --media-domains",
    "trust_request_mm_kwargs": _PICTURES + "; requests name budgets in `roi`",
    "shutdown_timeout": "{flag} has no effect; use --drain-timeout",
}
"""By destination in vLLM's parser."""

_ALLOWED: dict[str, tuple[object, ...]] = {
    "api_server_count": (1,),
    "runner": ("generate",),
    "convert": ("none",),
    "model_impl": ("vllm",),
    "allowed_media_domains": (["none.invalid"],),  # what sdrpn serve sets
}
"""Values that are accepted, in addition to the default."""


_SPECULATION = ("ngram", "ngram_gpu", "suffix", "draft_model")
"""Methods that do not read hidden states of the served model."""


def refusal(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str | None:
    """Why the server cannot start with these options, in one line; None if it can."""
    for action in parser._actions:
        reason = REFUSED.get(action.dest)
        value = getattr(options, action.dest, action.default)
        if reason and value != action.default and value not in _ALLOWED.get(action.dest, ()):
            return reason.format(flag=action.option_strings[0])
    method = (options.speculative_config or {}).get("method", options.spec_method)
    if method is not None and method not in _SPECULATION:
        return f"speculative decoding with {method} is not supported by the RPN"
    if "sdrpn" not in (options.hf_overrides or {}) or options.kv_transfer_config is None:
        return "write --hf-overrides and --kv-transfer-config in full"
    return None
