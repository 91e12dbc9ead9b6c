"""`sdrpn convert`: the RPN of a released checkpoint, and its gate, in a small folder of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rpn_plugin.network.checkpoint import (
    CONFIG_NAME,
    CheckpointError,
    load_gate,
    load_rpn,
    save_rpn,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("checkpoint", type=Path, help="folder in the released SD-RPN format")
    parser.add_argument("folder", type=Path, help="where the RPN is written; must not hold one")


def run(options: argparse.Namespace) -> int:
    """Write the RPN folder; 0, or 2 with one line on stderr."""
    try:
        rpn = load_rpn(options.checkpoint)
        if (options.folder / CONFIG_NAME).exists():
            raise CheckpointError(f"{options.folder} already holds an RPN")
        save_rpn(rpn, options.folder, load_gate(options.checkpoint))
    except (CheckpointError, OSError) as error:
        print(f"sdrpn convert: {error}", file=sys.stderr)
        return 2
    config = rpn.config
    gate = f"and a gate of {config.gate_layers} layers, " if config.gate_layers else ""
    print(
        f"{options.folder}: an RPN of depth {config.depth} after layer {config.tap_layer}, {gate}"
        f"for {config.family} models of {config.base_layers} layers"
    )
    return 0
