"""The flags of `sdrpn serve` that are ours: one for each field of Settings."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from pydantic.fields import FieldInfo

from server.settings import PREFIX, Settings

KEY_VARIABLE = f"{PREFIX}API_KEY"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every setting; one that is not given leaves its variable as it is."""
    group = parser.add_argument_group(f"sdrpn's own (also environment variables, {PREFIX}...)")
    for name, field in Settings.model_fields.items():
        group.add_argument(f"--{name.replace('_', '-')}", **_how(field))


def _how(field: FieldInfo) -> dict[str, Any]:
    default = "" if field.default in (None, ()) else f" (default: {field.default})"
    how: dict[str, Any] = {"default": None, "help": f"{field.description}{default}"}
    if field.annotation is bool:
        return {**how, "action": argparse.BooleanOptionalAction}
    if isinstance(field.default, str):
        return {**how, "choices": get_args(field.annotation)}
    if isinstance(field.default, tuple):
        return {**how, "nargs": "+", "action": "extend", "metavar": "ITEM"}
    return {**how, "metavar": "VALUE"}


def variables(options: argparse.Namespace) -> dict[str, str]:
    """The environment variables that the flags given in `options` stand for."""
    given = {name: getattr(options, name) for name in Settings.model_fields}
    return {
        PREFIX + name.upper(): ",".join(value) if isinstance(value, list) else str(value)
        for name, value in given.items()
        if value is not None
    }
