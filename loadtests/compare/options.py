"""The command line of `python -m loadtests.compare`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from loadtests.compare.cells import SETTINGS
from loadtests.compare.shapes import SHAPES

CONCURRENCIES = list(SETTINGS[0].requests)


def parse(argv: Sequence[str], about: str) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and the flags after `--` for both servers."""
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    flags = list(argv[len(own) + 1 :])
    options = _parser(about).parse_args(own)
    if options.model_shape:
        flags += ["--load-format", "dummy"]
    return options, flags


def _parser(about: str) -> argparse.ArgumentParser:
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
        help="stop measuring after this time, then report; 0: report only",
    )
    add("--quick", action="store_true", help="one small round, as a check that everything works")
    add("--share", type=float, default=1.0, help="of the usual chats in a cell; for slow models")
    add("--arms", nargs="+", metavar="ARM", help="default: all")
    add("--settings", nargs="+", choices=names, default=names)
    add("--concurrency", nargs="+", type=int, metavar="N", default=CONCURRENCIES)
    add("--base-tokens", type=int, default=64, help="of every arm's base view; default: 64")
    add("--crop-tokens", type=int, default=64, help="of the crop; default: 64")
    add("--more-tokens", type=int, nargs="*", default=[256, 1024], help="`plain` with these too")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", help="a folder or name; default: the shipped one")
    model.add_argument(
        "--model-shape", choices=list(SHAPES), help="a model of this size, with random weights"
    )
    return parser
