"""The entry point in `vllm.endpoint_plugins`: makes our plugin, or ends the process.

vLLM logs the exception of a plugin that cannot be loaded, and serves without it: without keys and
guards. It does not catch SystemExit.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.plugin import SdrpnEndpointPlugin

logger = logging.getLogger("vllm.sdrpn")


def endpoint_plugin() -> SdrpnEndpointPlugin:
    """The endpoint plugin. Raises SystemExit if it cannot be made."""
    try:
        from server.plugin import SdrpnEndpointPlugin

        return SdrpnEndpointPlugin()
    except Exception as error:
        logger.exception("The endpoint plugin cannot be loaded")
        sys.exit(f"sdrpn: the endpoint plugin cannot be loaded: {type(error).__name__}: {error}")
