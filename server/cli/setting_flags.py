"""The flags of `sdrpn serve` for the settings of server.settings: one for each field."""

from __future__ import annotations

import argparse

import rpn_plugin.model_flags
from server.settings import PREFIX, Settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every setting; without the flag, the variable keeps its value."""
    group = parser.add_argument_group(f"settings (also environment variables, {PREFIX}...)")
    rpn_plugin.model_flags.add_flags(group, Settings)


def variables(options: argparse.Namespace) -> dict[str, str]:
    """The environment variables for the flags in `options`."""
    return {
        PREFIX + name.upper(): ",".join(value) if isinstance(value, list) else str(value)
        for name, value in rpn_plugin.model_flags.given(options, Settings).items()
    }
