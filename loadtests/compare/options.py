"""The command line of `python -m loadtests.compare`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from loadtests.compare.cells import SETTINGS
from loadtests.compare.shapes import SHAPES

AT_ONCE = list(SETTINGS[0].requests)


def parse(argv: Sequence[str], about: str) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and the flags after `--` for both servers."""
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    flags = list(argv[len(own) + 1 :])
    parser = argparse.ArgumentParser(
        "python -m loadtests.compare",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [setting.name for setting in SETTINGS]
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/compare"), metavar="FOLDER")
    add("--rounds", type=int, default=5, help="default: %(default)s")
    add(
        "--minutes",
        type=float,
        default=float("inf"),
        help="measure so long, then report; 0: report",
    )
    add("--quick", action="store_true", help="one small round: does everything work?")
    add("--share", type=float, default=1.0, help="of the usual chats in a cell; for slow models")
    add("--arms", nargs="+", metavar="ARM", help="default: all")
    add("--settings", nargs="+", choices=names, default=names)
    add("--at-once", nargs="+", type=int, choices=AT_ONCE, default=AT_ONCE)
    add("--base-tokens", type=int, default=64, help="of every arm's base view; default: 64")
    add("--crop-tokens", type=int, default=64, help="of the crop; default: 64")
    add("--more-tokens", type=int, nargs="*", default=[256, 1024], help="`plain` with these too")
    add(
        "--gate",
        type=json.loads,
        default=True,
        metavar="JSON",
        help="its `roi.gate`; the RPN's own",
    )
    add("--model", help="a folder or name; default: the shipped one")
    add("--model-shape", choices=list(SHAPES), help="no model: one of this size, without weights")
    add("--load-format", help="vLLM's; a shape without weights needs `dummy`")
    options = parser.parse_args(own)
    if options.model_shape and (options.model or options.load_format != "dummy"):
        parser.error("--model-shape stands in for --model, and needs --load-format dummy")
    if options.load_format:
        flags += ["--load-format", options.load_format]
    return options, flags
