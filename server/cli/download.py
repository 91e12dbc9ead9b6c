"""`sdrpn download`: a model and its RPN from the Hub into a folder.

What is there already is kept, and a download that was cut short goes on (`huggingface_hub`).
`HF_ENDPOINT` names a mirror, `HF_TOKEN` a token.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from server.model_files.hub_names import hub_name


def main(argv: Sequence[str] | None = None) -> int:
    """Downloads; 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="sdrpn download",
        description="Fetch models and RPNs from the Hub; NAME goes to FOLDER/NAME.",
    )
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="OWNER/NAME or hf://OWNER/NAME; a path is skipped"
    )
    parser.add_argument("--to", type=Path, default=Path("/models"), metavar="FOLDER")
    options = parser.parse_args(argv)
    for text in options.names:
        if text.startswith(("/", ".")):
            continue
        name = hub_name(text)
        if name is None:
            parser.error(f"{text!r} is no name on the Hub: OWNER/NAME or hf://OWNER/NAME")
        if not _download(name, options.to / name):
            return 1
    return 0


def _download(name: str, folder: Path) -> bool:
    from huggingface_hub import snapshot_download

    print(f"{name} -> {folder}", flush=True)
    try:
        # No pickles: only what the server reads.
        snapshot_download(name, local_dir=folder, ignore_patterns=["*.bin", "*.pt", "*.pth"])
    except (OSError, ValueError) as error:
        print(f"sdrpn download: {name}: {str(error).splitlines()[0]}", file=sys.stderr)
        return False
    return True
