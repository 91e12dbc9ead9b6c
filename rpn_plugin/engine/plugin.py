"""vLLM's general plugin: makes our model classes, start checks and connector known by name.

vLLM calls `register` in every process it starts. It rests on `vllm.ModelRegistry.register_model`,
`KVConnectorFactory.register_connector` and `MODELS_CONFIG_MAP`, vLLM's table of checks that run
while the engine is configured, before any worker starts. Classes are registered by name, so that
nothing heavy is imported here.
"""

from __future__ import annotations

from rpn_plugin.compat import check_vllm_version
from rpn_plugin.engine_args import CONNECTOR
from rpn_plugin.families import FAMILIES


def register() -> None:
    """Register everything; harmless when called again. Raises CompatibilityError."""
    import vllm

    check_vllm_version(vllm.__version__)

    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from rpn_plugin.engine.models import llava_layout
    from rpn_plugin.engine.start_check import StartCheck

    llava_layout.register()

    for family in FAMILIES:
        vllm.ModelRegistry.register_model(family.engine_architecture, family.engine_class)
        MODELS_CONFIG_MAP[family.engine_architecture] = StartCheck
    if CONNECTOR not in KVConnectorFactory._registry:
        KVConnectorFactory.register_connector(
            CONNECTOR, "rpn_plugin.engine.connector", "SdrpnConnector"
        )
