"""The general plugin: a KV connector that also answers requests for attention, in every process.

It rests on `KVConnectorFactory._registry`, where sdrpn's plugin registers its connector unless one
of that name is there.
"""

from __future__ import annotations

from rpn_plugin.engine_args import CONNECTOR


def register() -> None:
    """Put our connector in place of sdrpn's; harmless when called again."""
    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

    KVConnectorFactory._registry.pop(CONNECTOR, None)
    KVConnectorFactory.register_connector(
        CONNECTOR, "loadtests.compare.baselines.attention_connector", "AttentionConnector"
    )
