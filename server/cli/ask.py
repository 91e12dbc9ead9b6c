"""`sdrpn ask`: one question about one picture, answered with and without the second look."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from server.api.errors import BadPicture
from server.cli.answer_drawing import draw_answer
from server.client import Answer, Client, EndpointError
from server.pictures.files import open_picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sdrpn ask`."""
    parser.add_argument("picture", type=Path, help="a PNG, JPEG, WebP or GIF file")
    parser.add_argument("question", help="what to ask about it")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")
    parser.add_argument("--model", help="default: the first that the endpoint serves")
    parser.add_argument("--api-key", help="if the endpoint wants one")
    parser.add_argument(
        "--max-tokens", type=int, default=256, help="of each answer (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, help="the picture to write (default: PICTURE with -sdrpn.png)"
    )


def run(args: argparse.Namespace) -> int:
    """Asks, prints both answers, writes the picture; 0, or 1 with one line of what went wrong."""
    try:
        return _run(args)
    except (BadPicture, EndpointError, OSError) as error:
        print(f"sdrpn ask: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    data = args.picture.read_bytes()
    original = open_picture(data).decode().image
    client = Client(args.url, args.api_key, args.model)
    base = client.ask(data, args.question, False, args.max_tokens)
    zoomed = client.ask(data, args.question, {"heatmap": True}, args.max_tokens)
    _print_answers(base, zoomed)

    out = args.out or args.picture.with_name(f"{args.picture.stem}-sdrpn.png")
    draw_answer(original, args.question, base.text, zoomed.text, zoomed.roi).save(out)
    print(f"drawn in     {out}")
    return 0


def _print_answers(base: Answer, zoomed: Answer) -> None:
    print(f"base view    {base.text}   ({base.seconds:.2f} s)")
    print(f"with region  {zoomed.text}   ({zoomed.seconds:.2f} s)")
    for region in zoomed.roi.regions:
        box = ", ".join(f"{corner:.0f}" for corner in region.box)
        print(f"region       [{box}]  score {region.score:.2f}")
    if zoomed.roi.skipped:
        print(f"no region    {zoomed.roi.skipped}")
