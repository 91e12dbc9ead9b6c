"""Reading single options out of a command line for vLLM's parser, in all spellings it takes.

vLLM takes `--some-option` and `--some_option`, values after `=` or as the next argument, JSON
options by their parts (`--option.key=value`, `--option.list+=value`), and a YAML file of options
(`--config FILE`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


class ArgumentError(ValueError):
    """The value of an option cannot be read; the message is one line that names the option."""


def option_of(argument: str) -> str:
    """The option that an argument names, without `=value` and `.key`; other arguments as they are.

    `--hf_overrides.a_b=1` is `--hf-overrides`.
    """
    if not argument.startswith("--"):
        return argument
    return argument.partition("=")[0].partition(".")[0].replace("_", "-")


def has_option(arguments: Sequence[str], option: str) -> bool:
    """Whether `option` is given in any spelling."""
    return any(option_of(argument) == option for argument in arguments)


def take_option(arguments: Sequence[str], option: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The values of `option`, each with its dotted key ("" for the whole), and the other arguments.

    Raises ArgumentError for an option without a value.
    """
    values: list[tuple[str, str]] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if option_of(argument) != option:
            others.append(argument)
            continue
        name, equals, value = argument.partition("=")
        if not equals:
            following = next(rest, None)
            if following is None:
                raise ArgumentError(f"{option} needs a value")
            value = following
        values.append((name.partition(".")[2], value))
    return values, others


def take_json(arguments: Sequence[str], option: str) -> tuple[dict[str, Any], list[str]]:
    """The value of a JSON option, merged from all its parts, and the other arguments.

    Raises ArgumentError.
    """
    values, others = take_option(arguments, option)
    merged: dict[str, Any] = {}
    for key, text in values:
        part = _parsed(key, text) if key else _object(option, text)
        _merge(merged, part)
    return merged, others


def expand_config(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options of `--config FILE` in front, where later ones win over them.

    Imports vLLM if there is such a file, whose reader it uses. Raises ArgumentError.
    """
    files, others = take_option(arguments, "--config")
    if not files:
        return others
    if len(files) > 1:
        raise ArgumentError("--config is given more than once")
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    ((_, path),) = files
    try:
        return [*parser.load_config_file(path), *others]
    except Exception as error:  # whatever YAML or the file system raises
        raise ArgumentError(f"--config {path}: {str(error).splitlines()[0]}") from error


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArgumentError(f"{option} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ArgumentError(f"{option} must be a JSON object, got {text}")
    return value


def _parsed(key: str, text: str) -> dict[str, Any]:
    """`a.b` and `1` as {"a": {"b": 1}}; `a+` and `x,y` as {"a": ["x", "y"]}."""
    value: Any = text.split(",") if key.endswith("+") else text
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = text
    for part in reversed(key.removesuffix("+").split(".")):
        value = {part: value}
    return dict(value)


def _merge(merged: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            old += value
        else:
            merged[name] = value
