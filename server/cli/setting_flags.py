"""The flags of `sdrpn serve` that are ours: one for each field of Settings."""

from __future__ import annotations

import argparse

import rpn_plugin.model_flags
from server.settings import PREFIX, Settings

KEY_VARIABLE = f"{PREFIX}API_KEY"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every setting; one that is not given leaves its variable as it is."""
    group = parser.add_argument_group(f"sdrpn's own (also environment variables, {PREFIX}...)")
    rpn_plugin.model_flags.add_flags(group, Settings)


def variables(options: argparse.Namespace) -> dict[str, str]:
    """The environment variables that the flags given in `options` stand for."""
    return {
        PREFIX + name.upper(): ",".join(value) if isinstance(value, list) else str(value)
        for name, value in rpn_plugin.model_flags.given(options, Settings).items()
    }
