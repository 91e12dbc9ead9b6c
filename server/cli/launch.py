"""From `sdrpn serve`'s arguments to the vLLM server that does the serving.

sdrpn adds no server of its own: it is vLLM's OpenAI server, started with our two plugins and the
configuration that attaches an RPN to the model. `plan` works that out without starting anything,
and refuses what cannot work; `sdrpn serve --print` shows the command line for plain vLLM.

`plan` imports torch (for the RPN's checkpoint) and transformers (for the model's configuration)
after it has read the arguments.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from rpn_plugin.compat import (
    CompatibilityError,
    check_model_config,
    check_rpn_fits,
    check_vllm_version,
)
from server.settings import SettingsError, read_settings
from server.shipped_model import SHIPPED_MODEL

PLUGINS = ("sdrpn", "sdrpn_endpoint")

_SERVER = "server.process"
_PLAIN_SERVER = "vllm.entrypoints.openai.api_server"
# Cached token counts in `usage` show what pass 2 costs. On its own routes vLLM fetches pictures
# from any URL unless domains are named: name one that cannot exist.
_DEFAULTS = {
    "--host": "127.0.0.1",
    "--enable-prompt-tokens-details": None,
    "--allowed-media-domains": "none.invalid",
}
# For the shipped model only: full precision, no compilation, a name that is not a path, the
# smallest cache blocks of the CPU backend (its whole prompt is shorter than the default of 128
# tokens), Qwen2.5-VL's format of tool calls, and a cache of processed pictures for a laptop.
_SHIPPED_DEFAULTS = {
    "--served-model-name": "sdrpn-demo",
    "--dtype": "float32",
    "--enforce-eager": None,
    "--block-size": "32",
    "--enable-auto-tool-choice": None,
    "--tool-call-parser": "hermes",
    "--mm-processor-cache-gb": "0.5",
}
# vLLM would reserve one more core for our connector, which runs in the worker itself. vLLM closes
# idle connections after 5 s, sometimes while a request arrives; clients and proxies keep
# connections for a minute.
_ENVIRONMENT_DEFAULTS = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "1",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
}
_SHIPPED_ENVIRONMENT_DEFAULTS = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}


class LaunchError(Exception):
    """The server cannot start; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Launch:
    """vLLM's server with these `arguments` and the whole `environment`."""

    arguments: tuple[str, ...]
    environment: dict[str, str]

    @property
    def command(self) -> tuple[str, ...]:
        """The process `sdrpn serve` becomes."""
        return (sys.executable, "-m", _SERVER, *self.arguments)

    @property
    def plain_command(self) -> tuple[str, ...]:
        """The same under plain vLLM, which exits with 0 even if the engine has died."""
        return (sys.executable, "-m", _PLAIN_SERVER, *self.arguments)


def plan(
    model: str | None,
    rpn: str | None,
    vllm_arguments: Sequence[str],
    environment: Mapping[str, str],
) -> Launch:
    """The vLLM server for `model` (None: the shipped one) with the RPN folder `rpn`.

    `rpn` None looks for a folder `rpn` inside the model's, or an RPN among the model's weights.
    `vllm_arguments` win over our defaults; `--hf-overrides` is merged with ours. Raises
    LaunchError.
    """
    if "" in (model, rpn):
        raise LaunchError(f"{'the model' if model == '' else '--rpn'} is empty")
    try:
        read_settings(environment)
    except SettingsError as error:
        raise LaunchError(str(error)) from error
    overrides, arguments = _take_json_option(list(vllm_arguments), "--hf-overrides")
    if _has_option(arguments, "--kv-transfer-config"):
        raise LaunchError(
            "--kv-transfer-config is taken: RoI maps travel through vLLM's one KV connector"
        )
    shipped = model is None
    model = str(SHIPPED_MODEL) if model is None else model
    folder = _checked_rpn_folder(model, rpn)

    from rpn_plugin.engine_args import hf_overrides, kv_transfer_config

    defaults = {**_DEFAULTS, **(_SHIPPED_DEFAULTS if shipped else {})}
    started_with = [
        *("--model", model),
        *("--hf-overrides", json.dumps({**overrides, **hf_overrides(folder)})),
        *("--kv-transfer-config", json.dumps(kv_transfer_config())),
        *_defaults_not_given(defaults, arguments),
        *arguments,
    ]
    return Launch(tuple(started_with), _environment(environment, shipped))


def run(launch: Launch) -> None:
    """Replace this process by the server: it keeps the process id, for signals and exit codes."""
    os.execve(launch.command[0], launch.command, launch.environment)


def model_config(model: str) -> dict[str, Any]:
    """The `config.json` of a model folder or Hugging Face name. Raises LaunchError."""
    from transformers import PretrainedConfig

    try:
        config, _ = PretrainedConfig.get_config_dict(model)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LaunchError(f"no model configuration at {model!r}: {reason}") from error
    if not config:
        raise LaunchError(f"no model configuration at {model!r}: it has no config.json")
    return dict(config)


def _checked_rpn_folder(model: str, rpn: str | None) -> str:
    """The RPN's folder. Raises LaunchError for what would stop the engine a minute later."""
    from rpn_plugin.network.checkpoint import CheckpointError, load_rpn_config
    from server.cli.rpn_folder import rpn_folder

    try:
        check_vllm_version(installed_vllm())
        config = model_config(model)
        check_model_config(config)
        folder = rpn_folder(model, rpn)
        check_rpn_fits(load_rpn_config(folder), config)
    except (CompatibilityError, CheckpointError) as error:
        raise LaunchError(str(error)) from error
    return folder


def installed_vllm() -> str | None:
    """The version of vLLM, of whichever distribution provides it, or None."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _has_option(arguments: Sequence[str], option: str) -> bool:
    spellings = (option, option.replace("-", "_").replace("__", "--", 1))
    return any(argument.split("=", 1)[0] in spellings for argument in arguments)


def _take_json_option(arguments: list[str], option: str) -> tuple[dict[str, Any], list[str]]:
    """The value of `option`, read as a JSON object, and the arguments without it."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if not _has_option([name], option):
            continue
        used = 1 if equals else 2
        text = value if equals else "".join(arguments[place + 1 : place + 2])
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError as error:
            raise LaunchError(f"{option} is not JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise LaunchError(f"{option} must be a JSON object, got {text}")
        return parsed, arguments[:place] + arguments[place + used :]
    return {}, arguments


def _defaults_not_given(defaults: Mapping[str, str | None], arguments: Sequence[str]) -> list[str]:
    missing: list[str] = []
    for option, value in defaults.items():
        if not _has_option(arguments, option):
            missing += [option] if value is None else [option, value]
    return missing


def _environment(environment: Mapping[str, str], shipped: bool) -> dict[str, str]:
    defaults = {**_ENVIRONMENT_DEFAULTS, **(_SHIPPED_ENVIRONMENT_DEFAULTS if shipped else {})}
    named = [name for name in environment.get("VLLM_PLUGINS", "").split(",") if name]
    plugins = [*named, *(name for name in PLUGINS if name not in named)]
    return {**defaults, **environment, "VLLM_PLUGINS": ",".join(plugins)}
