"""The vLLM classes we rest on, as they must be; a failure names the class that moved."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
import vllm
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorBase_V1, SupportsHMA
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.models.config import VerifyAndUpdateConfig
from vllm.model_executor.models.extract_hidden_states import (
    CacheOnlyAttentionBackend,
    CacheOnlyAttentionLayer,
    CacheOnlyAttentionMetadataBuilder,
)
from vllm.model_executor.models.interfaces import SupportsEagle3
from vllm.model_executor.models.llava import LlavaForConditionalGeneration, LlavaProcessingInfo
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from vllm.model_executor.models.qwen3_vl import Qwen3LLMModel, Qwen3VLForConditionalGeneration
from vllm.model_executor.models.registry import ModelRegistry
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.renderers.registry import RENDERER_REGISTRY
from vllm.tokenizers.registry import TokenizerRegistry
from vllm.v1.attention.backend import AttentionCGSupport
from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes
from vllm.v1.core.sched.output import KVConnectorBlockState, SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine.core import EngineCore
from vllm.v1.kv_cache_interface import KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import KVConnectorOutput
from vllm.v1.request import Request

from rpn_plugin.compat import check_vllm_version

METHODS: list[tuple[Any, str, tuple[str, ...]]] = [
    (KVConnectorBase_V1, "__init__", ("vllm_config", "role", "kv_cache_config")),
    (KVConnectorBase_V1, "on_new_request", ("request",)),
    (KVConnectorBase_V1, "build_connector_meta", ("scheduler_output",)),
    (KVConnectorBase_V1, "update_connector_output", ("connector_output",)),
    (KVConnectorBase_V1, "register_kv_caches", ("kv_caches",)),
    (KVConnectorBase_V1, "reset_cache", ()),
    (KVConnectorBase_V1, "build_connector_worker_meta", ()),
    (KVConnectorBase_V1, "_get_connector_metadata", ()),
    (SupportsHMA, "request_finished_all_groups", ("request", "block_ids")),
    (SupportsEagle3, "set_aux_hidden_state_layers", ("layers",)),
    (
        Qwen2_5_VLForConditionalGeneration,
        "forward",
        ("input_ids", "positions", "intermediate_tensors", "inputs_embeds", "kwargs"),
    ),
    (Qwen2_5_VLForConditionalGeneration, "load_weights", ("weights",)),
    (
        Qwen3VLForConditionalGeneration,
        "forward",
        ("input_ids", "positions", "intermediate_tensors", "inputs_embeds", "kwargs"),
    ),
    (
        LlavaForConditionalGeneration,
        "forward",
        ("input_ids", "positions", "intermediate_tensors", "inputs_embeds", "kwargs"),
    ),
    (LlavaProcessingInfo, "get_hf_processor", ("kwargs",)),
    (WeightsMapper, "map_name", ("key",)),
    (TokenizerRegistry, "register", ("tokenizer_mode", "module", "class_name")),
    (RENDERER_REGISTRY, "register", ("renderer_mode", "module", "class_name")),
    (VerifyAndUpdateConfig, "verify_and_update_model_config", ("model_config",)),
    (
        CacheOnlyAttentionLayer,
        "__init__",
        ("num_heads", "head_size", "cache_config", "prefix", "attn_type"),
    ),
    (CacheOnlyAttentionLayer, "forward", ("to_cache",)),
    (CacheOnlyAttentionBackend, "get_builder_cls", ()),
    (VerifyAndUpdateConfig, "verify_and_update_config", ("vllm_config",)),
    (KVConnectorBlockState, "get_block_ids", ("req_id",)),
    (KVConnectorFactory, "register_connector", ("name", "module_path", "class_name")),
    (type(ModelRegistry), "register_model", ("model_arch", "model_cls")),
]


@pytest.mark.parametrize(("owner", "name", "parameters"), METHODS)
def test_method_is_as_it_was(owner: Any, name: str, parameters: tuple[str, ...]) -> None:
    method = getattr(owner, name, None)
    what = f"{getattr(owner, '__name__', type(owner).__name__)}.{name}"
    assert method is not None, f"{what} is gone"
    found = tuple(p for p in inspect.signature(method).parameters if p not in ("self", "cls"))
    assert found == parameters, f"{what} takes {found}, not {parameters}"


FIELDS: list[tuple[Any, tuple[str, ...]]] = [
    (SchedulerOutput, ("num_scheduled_tokens", "kv_connector_block_state")),
    (KVCacheConfig, ("kv_cache_groups",)),
    (KVCacheGroupSpec, ("layer_names", "kv_cache_spec")),
    (KVConnectorOutput, ("kv_connector_worker_meta",)),
    (MultiModalFeatureSpec, ("modality", "mm_position")),
    (PlaceholderRange, ("offset", "length")),
    (DefaultModelLoader.Source, ("model_or_path", "revision", "prefix")),
]


@pytest.mark.parametrize(("owner", "names"), FIELDS)
def test_fields_are_there(owner: Any, names: tuple[str, ...]) -> None:
    present = {field.name for field in dataclasses.fields(owner)}
    assert set(names) <= present, f"{owner.__name__} has lost {set(names) - present}"


def test_request_tells_what_the_scheduler_side_reads() -> None:
    request = Request("a", [1, 2, 3], vllm.SamplingParams(max_tokens=1), None)
    names = ("request_id", "kv_transfer_params", "mm_features", "num_computed_tokens")
    more = ("num_prompt_tokens", "block_hashes")
    missing = [name for name in (*names, *more) if not hasattr(request, name)]
    assert not missing, f"Request has lost {missing}"


def test_a_model_may_name_more_weights() -> None:
    """A released LLaVA's vision tower is loaded so."""
    source = inspect.getsource(DefaultModelLoader.get_all_weights)
    assert "secondary_weights" in source, "DefaultModelLoader reads no secondary_weights"


def test_deepstack_is_in_the_states_that_are_tapped() -> None:
    """Qwen3-VL adds vision features between its layers: before it hands out their states."""
    source = inspect.getsource(Qwen3LLMModel.forward)
    added, handed_out = source.find("+ deepstack_input_embeds["), source.rfind("layer_idx + 1")
    assert 0 < added < handed_out, "Qwen3LLMModel.forward has changed its order"


def test_metadata_builder_would_forbid_cuda_graphs() -> None:
    """The reason for a builder of our own; when vLLM mends it, ours can go."""
    support = CacheOnlyAttentionMetadataBuilder._cudagraph_support
    assert support is AttentionCGSupport.NEVER, "CacheOnlyAttentionMetadataBuilder has changed"


def test_scheduler_finishes_requests_before_it_hands_over_results() -> None:
    """The order that lets `SchedulerSide` hand out an answer and fill it in the same step."""
    source = inspect.getsource(Scheduler.update_from_output)
    finish = source.find("self._free_request(request)")
    hand_over = source.find("self._update_from_kv_xfer_finished(")
    assert 0 < finish < hand_over, "Scheduler.update_from_output has changed its order"


def test_sizes_of_hashed_blocks_can_be_asked_for() -> None:
    found = tuple(inspect.signature(resolve_kv_cache_block_sizes).parameters)
    assert found == ("kv_cache_config", "vllm_config"), f"resolve_kv_cache_block_sizes: {found}"


def test_blocks_are_hashed_for_connectors() -> None:
    """Also where prefix caching is off; the RPN's memory is keyed by these hashes."""
    source = inspect.getsource(EngineCore.__init__)
    assert "enable_prefix_caching or kv_connector is not None" in source, "EngineCore.__init__"


def test_installed_version_is_supported() -> None:
    check_vllm_version(vllm.__version__)
