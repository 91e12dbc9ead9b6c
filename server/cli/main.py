"""The `sdrpn` command: hands its arguments to the module of the subcommand.

Nothing heavy is imported here, and a subcommand's module imports torch, vLLM or transformers only
after it has read its arguments: help and argument errors answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "serve": "start the endpoint",
    "ask": "ask a running endpoint about a picture",
    "doctor": "check that the parts of this installation fit together",
    "download": "fetch a model and its RPN from the Hub into a folder",
    "convert": "write the RPN of a released checkpoint to a folder of its own",
    "distill": "train an RPN for a model",
    "eval": "measure a running endpoint on benchmark files",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="sdrpn", description="Serve vision-language models that see small detail."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, add_help=False)
    command = parser.parse_known_args(arguments[:1])[0].command
    status: int = importlib.import_module(f"server.cli.{command}").main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
