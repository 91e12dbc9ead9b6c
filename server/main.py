"""vLLM's OpenAI server as a process of ours: the same, but for how it starts and ends.

Where our endpoint plugin cannot be loaded, vLLM says so in its log and serves without it: without
keys and guards. Here it is imported first, and a failure ends the start. vLLM's entry point returns
0 when its engine has died.
"""

import sys

if __name__ == "__main__":
    from vllm.entrypoints.launchers.api_server.entry import main

    from server import lifecycle, plugin  # noqa: F401

    main()
    sys.exit(lifecycle.exit_status)
