"""Command-line flags from a pydantic model of settings: a flag for each field.

Values stay what was typed: the model turns them into its own types, and refuses what it must.
"""

from __future__ import annotations

import argparse
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def add_flags(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, settings: type[BaseModel]
) -> None:
    """A flag for every field: `max_inflight` is `--max-inflight`."""
    for name, field in settings.model_fields.items():
        default = "" if field.default in (None, "", ()) else f" (default: {field.default})"
        about = (field.description or "").replace("%", "%%")
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=about + default,
            **_form(name, field),
        )


def given(options: argparse.Namespace, settings: type[BaseModel]) -> dict[str, Any]:
    """The fields whose flags were given, by name."""
    there = vars(options)
    return {name: there[name] for name in settings.model_fields if name in there}


def _form(name: str, field: FieldInfo) -> dict[str, Any]:
    """`--flag` and `--no-flag`, one of several words, a list, or one value."""
    if field.annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(field.annotation) is Literal:
        return {"choices": get_args(field.annotation)}
    value = name.split("_")[-1].upper()
    if isinstance(field.default, tuple):
        return {"nargs": "+", "action": "extend", "metavar": value}
    return {"metavar": value}
