"""vLLM's OpenAI server as a process of ours: the same, but for the status it exits with.

vLLM's entry point returns 0 when its engine has died.
"""

import sys

if __name__ == "__main__":
    from vllm.entrypoints.launchers.api_server.entry import main

    from server import lifecycle

    main()
    sys.exit(lifecycle.exit_status)
