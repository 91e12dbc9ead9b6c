"""`sdrpn ask`: one question about one picture, answered with and without zoom."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from server.cli import endpoint_arguments

if TYPE_CHECKING:
    from server.client import Answer


def main(arguments: Sequence[str]) -> int:
    """Print both answers and draw the regions; 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="sdrpn ask", description=__doc__)
    parser.add_argument("picture", type=Path, help="a picture of any format the endpoint takes")
    parser.add_argument("question", help="what to ask about it")
    endpoint_arguments.add_arguments(parser)
    parser.add_argument(
        "--max-tokens", type=int, default=256, help="of each answer (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, help="the picture to write (default: PICTURE with -sdrpn.png)"
    )
    return _run(parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    from server.api.errors import BadPicture
    from server.client import EndpointError

    try:
        _ask(options)
    except (BadPicture, EndpointError, OSError) as error:
        print(f"sdrpn ask: {error}", file=sys.stderr)
        return 1
    return 0


def _ask(options: argparse.Namespace) -> None:
    from server.cli.answer_drawing import draw_answer
    from server.client import Client
    from server.pictures.files import open_picture

    data = options.picture.read_bytes()
    original = open_picture(data).decode().image
    client = Client(options.url, options.api_key, options.model)
    base = client.ask(data, options.question, False, options.max_tokens)
    zoomed = client.ask(data, options.question, {"heatmap": True}, options.max_tokens)
    _print_answers(base, zoomed)

    out = options.out or options.picture.with_name(f"{options.picture.stem}-sdrpn.png")
    draw_answer(original, options.question, base.text, zoomed.text, zoomed.roi).save(out)
    print(f"drawn in     {out}")


def _print_answers(base: Answer, zoomed: Answer) -> None:
    print(f"base view    {base.text}   ({base.seconds:.2f} s)")
    print(f"with region  {zoomed.text}   ({zoomed.seconds:.2f} s)")
    for region in zoomed.roi.regions:
        box = ", ".join(f"{corner:.0f}" for corner in region.box)
        print(f"region       [{box}]  score {region.score:.2f}")
    if zoomed.roi.skipped:
        print(f"no region    {zoomed.roi.skipped}")
