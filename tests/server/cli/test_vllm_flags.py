"""Every flag of vLLM's server, under `sdrpn serve`: passed on, refused in one line, or irrelevant.

A flag that a new vLLM adds fails the test until it is in one of the lists.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import os
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from vllm.entrypoints.launchers.api_server import entry
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

from server.api.roi_options import MAX_REGIONS
from server.cli.launch import LaunchError, _plugins, plan
from server.cli.main import main
from server.shipped_model import SHIPPED_MODEL
from server.vllm_flags import REFUSED, refusal

OURS = {
    "help": "prints the help of sdrpn serve",
    "model_tag": "the model, which sdrpn serve takes first",
    "model": "takes the place of the first argument",
    "config": "is read by sdrpn serve",
    "api_key": "a setting of ours",
    "hf_overrides": "merged with ours",
    "kv_transfer_config": "refused: it is ours",
    "limit_mm_per_prompt": "image counts the pictures of the caller",
}
"""Read by `sdrpn serve` itself; tested one by one below."""

IRRELEVANT = frozenset(
    """
    mamba_backend mamba_ssu_algorithm enable_mamba_cache_stochastic_rounding
    mamba_cache_philox_rounds mamba_cache_dtype mamba_ssm_cache_dtype mamba_block_size
    mamba_cache_mode enable_mamba_shared_prefix_checkpoint gdn_prefill_backend kda_prefill_backend
    kda_decode_backend replayssm_buffer_len use_replayssm swa_bounded_replay diffusion_config
    video_pruning_rate video_pruning_method cohere_is_reasoning_model cohere_format
    sparse_indexer_topk_backend engram_config elastic_ep_max_dp_size sleep_mode_offload_cudagraph
    sleep_preserve_parameter_names enable_nccl_comm_suspend dcp_comm_backend dcp_q_replicate
    dcp_kv_cache_interleave_size cp_kv_cache_interleave_size dbo_decode_token_threshold
    dbo_prefill_token_threshold
    """.split()  # noqa: SIM905
)
"""Of model architectures, media and modes that sdrpn does not serve; passed on without effect."""

PASSED_ON = frozenset(
    """
    lora_modules chat_template chat_template_content_format trust_request_chat_template
    default_chat_template_kwargs response_role return_tokens_as_token_ids enable_auto_tool_choice
    exclude_tools_when_tool_choice_none tool_call_parser tool_parser_plugin tool_strict_level
    tool_server max_log_len enable_prompt_tokens_details enable_per_request_metrics
    enable_server_load_tracking enable_force_include_usage sse_keep_alive_interval
    enable_log_outputs enable_log_deltas anthropic_disabled_thinking_effort log_error_stack
    fingerprint_mode fingerprint_value host port uds uvicorn_log_level disable_uvicorn_access_log
    disable_access_log_for_endpoints allow_credentials allowed_origins allowed_methods
    allowed_headers ssl_keyfile ssl_certfile ssl_ca_certs enable_ssl_refresh ssl_cert_reqs
    ssl_ciphers root_path middleware enable_request_id_headers disable_fastapi_docs
    h11_max_incomplete_event_size h11_max_header_count tokenizer tokenizer_mode trust_remote_code
    dtype seed hf_config_path revision code_revision tokenizer_revision max_model_len quantization
    quantization_config allow_deprecated_quantization enforce_eager enable_return_routed_experts
    return_sampling_mask max_logprobs logprobs_mode use_fp64_gumbel enable_trace_replay
    disable_sliding_window disable_cascade_attn enable_prompt_embeds served_model_name
    config_format hf_token generation_config override_generation_config enable_cumem_allocator
    logits_processors renderer_num_workers load_format download_dir safetensors_load_strategy
    safetensors_prefetch_num_threads safetensors_prefetch_block_size model_loader_extra_config
    ignore_patterns use_tqdm_on_load pt_load_map_location attention_backend reasoning_parser
    reasoning_parser_plugin distributed_executor_backend master_addr master_port nnodes node_rank
    distributed_timeout_seconds cpu_distributed_timeout_seconds numa_bind numa_bind_nodes
    numa_bind_cpus device_ids tensor_parallel_size data_parallel_size data_parallel_size_local
    data_parallel_address data_parallel_rpc_port data_parallel_backend enable_hc_sp
    enable_expert_parallel enable_batch_sharded_sampling enable_ep_weight_filter all2all_backend
    enable_shm_tensor_arena dp_sync_interval disable_nccl_for_dp_synchronization enable_eplb
    eplb_config expert_placement_strategy max_parallel_loading_workers ray_workers_use_nsight
    disable_custom_all_reduce worker_cls worker_extension_cls enable_fault_tolerance
    fault_tolerance_config block_size gpu_memory_utilization kv_cache_memory_bytes kv_cache_dtype
    num_gpu_blocks_override enable_prefix_caching prefix_caching_hash_algo
    prefix_cache_retention_interval kv_cache_dtype_skip_layers kv_sharing_fast_prefill
    prefix_match_unit offload_backend cpu_offload_gb cpu_offload_params offload_group_size
    offload_num_in_group offload_prefetch_step offload_params mm_processor_kwargs
    mm_processor_cache_gb mm_processor_cache_type mm_hasher_algorithm
    mm_shm_cache_max_object_size_mb mm_encoder_tp_mode mm_encoder_attn_backend
    mm_encoder_attn_dtype mm_encoder_fp8_scale_path mm_encoder_fp8_scale_save_path
    mm_encoder_fp8_scale_save_margin interleave_mm_strings skip_mm_profiling mm_tensor_ipc
    mm_processor_device mm_ipc_gpu_memory_gb mm_device_do_normalize enable_lora max_loras
    max_lora_rank lora_dtype enable_tower_connector_lora max_cpu_loras fully_sharded_loras
    lora_target_modules default_mm_loras specialize_active_lora enable_mixed_moe_lora_format
    enable_moe_shared_loras logging_config log_level log_config_file
    show_hidden_metrics_for_version otlp_traces_endpoint collect_detailed_traces
    per_request_spec_decode_metrics kv_cache_metrics kv_cache_metrics_sample
    custom_histogram_buckets cudagraph_metrics enable_layerwise_nvtx_tracing enable_mfu_metrics
    enable_logging_iteration_details jit_monitor_mode jit_monitor_verbose max_num_batched_tokens
    max_num_scheduled_tokens max_num_seqs max_num_active_seqs max_num_queued_reqs
    max_num_queued_tokens long_prefill_token_threshold long_prefill_token_threshold_adaptive
    scheduling_policy enable_chunked_prefill disable_chunked_mm_input scheduler_cls
    scheduler_reserve_full_isl watermark prefill_schedule_interval disable_hybrid_kv_cache_manager
    async_scheduling stream_interval cudagraph_capture_sizes max_cudagraph_capture_size
    ir_op_priority enable_flashinfer_autotune moe_backend linear_backend speculative_config
    spec_method spec_model spec_tokens watermark_config kv_events_config ec_manager_config
    compilation_config attention_config reasoning_config kernel_config additional_config
    structured_outputs_config aux_output_config optimization_level performance_mode
    disable_log_stats aggregate_engine_logging fail_on_environ_validation enable_log_requests
    """.split()  # noqa: SIM905
)
"""Reach vLLM with the caller's value."""


@functools.cache
def parser() -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = make_arg_parser(FlexibleArgumentParser())
    return made


ACTIONS = {action.dest: action for action in parser()._actions}
HARD = {
    "port": ["9"],
    "lora_modules": ["name=path"],
    "allowed_origins": ['["x"]'],
    "allowed_methods": ['["x"]'],
    "allowed_headers": ['["x"]'],
    "allowed_media_domains": ["example.com"],
    "eplb_config": ['{"window_size": 9}'],
    "fault_tolerance_config": ['{"engine_recovery_timeout_sec": 9}'],
    "ir_op_priority": ['{"rms_norm": ["native"]}'],
    "ec_manager_config": ['{"encoder_cache_manager_cls": "x"}'],
    "compilation_config": ['{"debug_dump_path": "/x"}'],
    "attention_config": ['{"tokenspeed_mla_min_split_kv": 9}'],
    "kernel_config": ['{"enable_jit_warmup": false}'],
    "structured_outputs_config": ['{"enable_in_reasoning": true}'],
    "aux_output_config": ['{"enable_return_routed_experts": true}'],
    "profiler_config": ['{"profiler": "torch", "torch_profiler_dir": "/x"}'],
    "runner": ["pooling"],
    "convert": ["embed"],
    "api_server_count": ["2"],
    "model_impl": ["transformers"],
    "speculative_config": ['{"method": "ngram", "num_speculative_tokens": 2}'],
    "spec_method": ["ngram"],
}
QUICK = {"VLLM_PLUGINS": ""}
"""An environment in which `plan` need not look for installed plugins."""
CANDIDATES = ("7", "1", "x", '{"a": 1}', '["a"]', "0.5", "auto", "true", "{}", "cpu", "eagle")


def sample(dest: str) -> list[str]:
    """Arguments that set the flag to a value other than its default."""
    action = ACTIONS[dest]
    flag = action.option_strings[0]
    if isinstance(action, argparse.BooleanOptionalAction):
        return [action.option_strings[1] if action.default else flag]
    if action.nargs == 0:
        return [flag]
    for value in (*HARD.get(dest, ()), *map(str, action.choices or ()), *CANDIDATES):
        arguments = [f"{flag}={value}"]
        try:
            if getattr(parse(arguments), dest) != action.default:
                return arguments
        except (SystemExit, ValueError, TypeError, KeyError, AttributeError):
            continue
    raise AssertionError(f"no value found for {flag}")


def parse(arguments: list[str]) -> Any:
    return parser().parse_args(arguments)


def test_every_flag_is_in_one_list() -> None:
    lists = [set(OURS), IRRELEVANT, PASSED_ON, set(REFUSED)]
    listed = [dest for flags in lists for dest in flags]
    assert sorted(listed) == sorted(ACTIONS)


@pytest.fixture(scope="module")
def planned() -> list[str]:
    """vLLM's arguments for the shipped model and no flags."""
    return list(plan(None, None, [], {}).arguments)


def test_what_sdrpn_serve_sets_itself_is_not_refused(planned: list[str]) -> None:
    assert refusal(parser(), parse(planned)) is None


@pytest.mark.parametrize("dest", sorted(PASSED_ON | IRRELEVANT))
def test_a_flag_is_passed_on(dest: str) -> None:
    given = sample(dest)
    options = parse(list(plan(None, None, given, QUICK).arguments))
    assert getattr(options, dest) == getattr(parse(given), dest)
    assert refusal(parser(), options) is None


@pytest.mark.parametrize("dest", sorted(REFUSED))
def test_a_flag_is_refused_in_one_line(dest: str) -> None:
    reason = refusal(parser(), parse([*plan(None, None, sample(dest), QUICK).arguments]))
    assert reason is not None
    assert ACTIONS[dest].option_strings[0] in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    "given",
    [
        ["--spec-method", "eagle3"],
        ["--speculative-config", '{"method": "mtp"}'],
        ["--speculative-config.method=medusa"],
    ],
    ids=" ".join,
)
def test_speculation_from_hidden_states_is_refused(given: list[str]) -> None:
    reason = refusal(parser(), parse([*plan(None, None, given, QUICK).arguments]))
    assert reason is not None
    assert "speculative decoding" in reason


@pytest.mark.slow
@pytest.mark.parametrize("given", [["--headless"], ["--api-server-count=2"], ["--headl"]])
def test_the_server_does_not_start(given: list[str]) -> None:
    command = [sys.executable, "-m", "server.cli", "serve", *given]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert ended.stderr.rstrip().splitlines()[-1].startswith("sdrpn serve: ")


def option(arguments: Any, name: str) -> Any:
    """The JSON value of an option."""
    words = list(arguments)
    assert words.count(name) == 1
    return json.loads(words[words.index(name) + 1])


@pytest.mark.parametrize(
    "given",
    [
        ["--hf-overrides", '{"a": {"b": 1}, "c": [2]}'],
        ['--hf_overrides={"a": {"b": 1}, "c": [2]}'],
        ["--hf-overrides.a.b=1", "--hf-overrides.c", "[2]"],
        ["--hf_overrides.a.b", "1", '--hf-overrides={"c": [2]}'],
        ["--hf-overrides.a", '{"b": 1}', "--hf-overrides.c=[2]"],
    ],
    ids=" ".join,
)
def test_overrides_in_every_spelling_are_merged_with_ours(given: list[str]) -> None:
    overrides = option(plan(None, None, given, QUICK).arguments, "--hf-overrides")
    assert (overrides.pop("a"), overrides.pop("c")) == ({"b": 1}, [2])
    assert set(overrides) == {"architectures", "sdrpn"}


def test_a_list_by_its_parts() -> None:
    given = ["--hf-overrides.a+=x,y", "--hf-overrides.a+", "z"]
    assert option(plan(None, None, given, QUICK).arguments, "--hf-overrides")["a"] == [
        "x",
        "y",
        "z",
    ]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--kv-transfer-config.kv_connector=Mine"], "--kv-transfer-config is taken"),
        (["--kv_transfer_config={}"], "--kv-transfer-config is taken"),
        (["--hf-overrides.sdrpn.rpn=/x"], "cannot set 'sdrpn'"),
        (["--hf-overrides", '{"architectures": ["X"]}'], "cannot set 'architectures'"),
        (["--hf-overrides"], "--hf-overrides needs a value"),
        (["--limit-mm-per-prompt.image=0"], "image must be 1 or more"),
        (["--limit-mm-per-prompt", '{"image": "many"}'], "image must be 1 or more"),
    ],
)
def test_what_is_ours_is_not_given_away(given: list[str], reason: str) -> None:
    with pytest.raises(LaunchError, match=reason):
        plan(None, None, given, QUICK)


def test_two_limits_on_images_are_refused() -> None:
    with pytest.raises(LaunchError, match="both limit images"):
        plan(None, None, ["--limit-mm-per-prompt.image=2"], {"SDRPN_MAX_PICTURES": "3"})


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (["--limit-mm-per-prompt", '{"image": 1}'], 1),
        (["--limit-mm-per-prompt.image=2"], 2),
        (["--limit-mm-per-prompt", '{"image": {"count": 3, "width": 64, "height": 64}}'], 3),
    ],
)
def test_a_limit_on_images_leaves_room_for_crops(given: list[str], count: int) -> None:
    planned = plan(None, None, given, QUICK)
    assert planned.environment["SDRPN_MAX_PICTURES"] == str(count)
    limits = option(planned.arguments, "--limit-mm-per-prompt")
    assert limits["image"]["count"] == count + MAX_REGIONS
    assert ("width" in limits["image"]) == (count == 3)


def test_the_model_may_be_a_flag() -> None:
    launch = plan(None, str(SHIPPED_MODEL / "rpn"), ["--model", str(SHIPPED_MODEL)], {})
    assert launch.arguments.count("--model") == 1
    assert "--dtype" not in launch.arguments, "a default of the shipped model"
    with pytest.raises(LaunchError, match="two models"):
        plan("one", None, ["--model=other"], {})


def test_a_configuration_file_wins_over_our_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(
        "host: 0.0.0.0\ndtype: bfloat16\nport: 9\nmax-inflight: 3\nhf-overrides:\n  a: 1\n"
    )
    for given in (["--config", str(file)], [f"--config={file}"]):
        assert main(["serve", "--print", *given, "--port", "10"]) == 0
        words = shlex.split(capsys.readouterr().out)
        assert "SDRPN_MAX_INFLIGHT=3" in words
        options = parse(words[words.index("-m") + 2 :])
        assert (options.host, options.dtype, options.port) == ("0.0.0.0", "bfloat16", 10)
        assert options.hf_overrides["a"] == 1
        assert "sdrpn" in options.hf_overrides


def test_an_absent_configuration_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--config", "/no/such.yaml"]) == 2
    assert "sdrpn serve: --config /no/such.yaml: " in capsys.readouterr().err


def test_other_installed_plugins_stay_on(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {
        "vllm.general_plugins": ["sdrpn", "theirs"],
        "vllm.platform_plugins": ["accelerator"],
        "vllm.endpoint_plugins": ["sdrpn_endpoint", "opt_in"],
    }

    entries = EntryPoints(
        EntryPoint(name, "module:name", group) for group, names in groups.items() for name in names
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda: entries)
    assert _plugins(None) == ["sdrpn", "theirs", "accelerator", "sdrpn_endpoint"]
    assert _plugins("") == ["sdrpn", "sdrpn_endpoint"]
    assert _plugins("theirs") == ["theirs", "sdrpn", "sdrpn_endpoint"]


def test_the_size_of_the_rpns_cache(capsys: pytest.CaptureFixture[str]) -> None:
    for given, size in ((["--rpn-cache-gb", "1.5"], 1536), (["--rpn-cache-gb=0"], 0), ([], 256)):
        assert main(["serve", "--print", *given]) == 0
        words = shlex.split(capsys.readouterr().out)
        assert option(words, "--hf-overrides")["sdrpn"]["prefix_cache_mib"] == size
    with pytest.raises(SystemExit):
        main(["serve", "--rpn-cache-gb", "-1"])


def test_print_is_a_command_of_plain_vllm(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--print"]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[words.index("-m") + 1] == entry.__name__
    assert "is deprecated" not in inspect.getsource(entry)


@pytest.mark.slow
def test_nothing_is_imported_from_where_the_user_stands(tmp_path: Path) -> None:
    for name in ("server", "rpn_plugin", "vllm", "torch"):
        (tmp_path / f"{name}.py").write_text("import os; os._exit(99)")
    planned = plan(None, None, ["--no-such-flag"], os.environ)
    for command in (planned.command, planned.plain_command):
        ended = subprocess.run(
            command,
            cwd=tmp_path,
            env=planned.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ended.returncode == 2
        assert "unrecognized arguments: --no-such-flag" in ended.stderr
