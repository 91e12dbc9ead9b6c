"""Methods that sdrpn is compared with, in the same engine, as a vLLM plugin of their own.

`python -m loadtests.compare` alone loads it: it puts `PLUGIN_FOLDER`, which holds the entry points,
on the server's PYTHONPATH and names `PLUGINS` in VLLM_PLUGINS. Nothing has to be installed.

The endpoint plugin *is* sdrpn's with more methods, and is named in its place, because vLLM gives
endpoint plugins no order. Of the general plugins both are named, in any order.
"""

from pathlib import Path

PLUGIN_FOLDER = Path(__file__).parent / "plugin"
PLUGINS = ("sdrpn", "sdrpn_baselines")
