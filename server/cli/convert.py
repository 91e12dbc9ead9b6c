"""`sdrpn convert`: writes the RPN of a released checkpoint, and its gate, to a small folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Write the RPN folder; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="sdrpn convert", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder in the released SD-RPN format")
    parser.add_argument("folder", type=Path, help="where the RPN is written; must not hold one")
    options = parser.parse_args(arguments)
    return _run(options.checkpoint, options.folder)


def _run(checkpoint: Path, folder: Path) -> int:
    from rpn_plugin.network.checkpoint import (
        CONFIG_NAME,
        CheckpointError,
        load_gate,
        load_rpn,
        save_rpn,
    )

    try:
        rpn = load_rpn(checkpoint)
        if (folder / CONFIG_NAME).exists():
            raise CheckpointError(f"{folder} already holds an RPN")
        save_rpn(rpn, folder, load_gate(checkpoint))
    except (CheckpointError, OSError) as error:
        print(f"sdrpn convert: {error}", file=sys.stderr)
        return 2
    config = rpn.config
    gate = f"and a gate of {config.gate_layers} layers, " if config.gate_layers else ""
    print(
        f"{folder}: an RPN of depth {config.depth} after layer {config.tap_layer}, {gate}"
        f"for {config.family} models of {config.base_layers} layers"
    )
    return 0
