"""`sdrpn serve`: becomes vLLM's server for a model and its RPN."""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import sys
from collections.abc import Sequence

import rpn_plugin.model_flags
from server.cli import launch
from server.cli.vllm_arguments import ArgumentError, expand_config
from server.settings import KEY_VARIABLE, PREFIX, Settings

_USAGE = "sdrpn serve [--flag=value ...] [MODEL] [--rpn PATH] [--print] [any vllm flag ...]"
_ABOUT = """\
Serve MODEL (a Hugging Face folder or name; without one, the small model that ships with sdrpn)
with its RPN, OpenAI-compatible, on 127.0.0.1:8000. Every other flag goes to vLLM's server."""


def main(arguments: Sequence[str]) -> int:
    """Become vLLM's server; or print its command line, or one line of what is refused."""
    model, flags_given = _take_model(arguments)
    parser = argparse.ArgumentParser(
        prog="sdrpn serve",
        usage=_USAGE,
        description=_ABOUT,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rpn", metavar="PATH", help="RPN folder (default: MODEL/rpn)")
    parser.add_argument(
        "--rpn-cache-gb",
        type=_size,
        metavar="GIB",
        help="size of the RPN's prefix cache on each device, 0 for none (default: 0.25)",
    )
    parser.add_argument(
        "--print", action="store_true", help="show vLLM's command line and environment, and exit"
    )
    add_setting_flags(parser)
    try:
        options, vllm_arguments = parser.parse_known_args(expand_config(flags_given))
        environment = {**os.environ, **setting_variables(options)}
        planned = launch.plan(model, options.rpn, vllm_arguments, environment, options.rpn_cache_gb)
    except (ArgumentError, launch.LaunchError) as error:
        print(f"sdrpn serve: {error}", file=sys.stderr)
        return 2
    if options.print:
        print(_shown(planned))
        return 0
    launch.run(planned)
    return 0  # not reached: the process has become the server


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every field of Settings; without the flag, the variable keeps its value."""
    group = parser.add_argument_group(f"settings (also environment variables, {PREFIX}...)")
    rpn_plugin.model_flags.add_flags(group, Settings)


def setting_variables(options: argparse.Namespace) -> dict[str, str]:
    """The environment variables for the settings in `options`."""
    return {
        PREFIX + name.upper(): ",".join(value) if isinstance(value, list) else str(value)
        for name, value in rpn_plugin.model_flags.given(options, Settings).items()
    }


def _take_model(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The model, if one is named, and the other arguments.

    The model is the first argument that has not the form `--flag=value`: an image's entry point
    puts such flags before what its user adds. If that argument is a flag, no model is named: after
    a flag written without `=`, only vLLM's parser can tell a model from a value.
    """
    place = next((n for n, one in enumerate(arguments) if not re.match("--[^=]+=", one)), None)
    if place is None or arguments[place].startswith("-"):
        return None, list(arguments)
    return arguments[place], [*arguments[:place], *arguments[place + 1 :]]


def _size(text: str) -> float:
    size = float(text)
    if not 0 <= size < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return size


def _shown(planned: launch.Launch) -> str:
    """The command line for a shell, with the variables it needs; keys are left out."""
    added = [
        f"{name}={'...' if name == KEY_VARIABLE else shlex.quote(value)}"
        for name, value in planned.environment.items()
        if os.environ.get(name) != value
    ]
    return " ".join([*added, shlex.join(planned.plain_command)])
