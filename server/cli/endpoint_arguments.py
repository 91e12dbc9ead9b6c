"""The arguments of every command that talks to a running endpoint."""

from __future__ import annotations

import argparse
import os

KEY_VARIABLES = ("SDRPN_API_KEY", "OPENAI_API_KEY")
"""Environment variables an API key is read from, the first one that is set."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--url`, `--model` and `--api-key`."""
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")
    parser.add_argument("--model", help="default: the first that the endpoint serves")
    parser.add_argument(
        "--api-key",
        default=_key_from_environment(),
        help="if the endpoint needs one (default: " + " or ".join(KEY_VARIABLES) + ")",
    )


def _key_from_environment() -> str | None:
    """A key of the environment; of several, comma-separated as the server reads them, the first."""
    values = (os.environ.get(name, "") for name in KEY_VARIABLES)
    keys = (key.strip() for value in values for key in value.split(","))
    return next((key for key in keys if key), None)
