"""`python -m loadtests.ideas NAME ...`: measures ideas for more speed, each against what it would
replace, by turns on this machine. docs/performance-ideas.md has the table of what came of them.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence

IDEAS = {
    "known-picture": "keep the RPN's part of a picture for the next question about it",
    "twice": "hand pass 2 the base view as pass 1 rendered it",
    "unwinding": "start on the crop before pass 1's output is unwound",
    "batches": "one RPN batch for the requests of a step",
    "crop-budget": "as many crop tokens as the region needs",
    "repeated": "no pass 1 for a question that was just asked",
    "fewer-bits": "tapped states in eight bits",
    "scaled-views": "base views box-averaged first, or scaled by torch",
}
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_PLUGINS": "sdrpn",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
}
"""For every engine alike: any connector would make vLLM reserve one core more."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the ideas named."""
    listed = "\n".join(f"  {name:14} {what}" for name, what in IDEAS.items())
    parser = argparse.ArgumentParser(
        "python -m loadtests.ideas",
        description=__doc__,
        epilog=f"ideas:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("idea", nargs="+", choices=list(IDEAS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    options = parser.parse_args(argv)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in options.idea:
        idea = importlib.import_module(f"loadtests.ideas.{name.replace('-', '_')}")
        idea.measure(options.rounds)


if __name__ == "__main__":
    main()
